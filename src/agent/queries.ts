// Prepared queries of one datacenter: a name for a service and how its instances are chosen.
import { randomUUID } from 'node:crypto'
import type { Json } from '../consul/shape.ts'
import { object, textOf } from './proxy-block.ts'
import { Refusal } from './refusal.ts'
import type { Row } from './rows.ts'
import type { State } from './state.ts'

export class Queries {
  readonly #state: State

  constructor(state: State) {
    this.#state = state
  }

  list(): readonly Row<'query'>[] {
    return this.#state.all('query')
  }

  /** By its ID, or by its name. */
  find(idOrName: string): Row<'query'> | undefined {
    return (
      this.#state.get('query', idOrName) ?? this.list().find(({ Name }) => Name !== '' && Name === idOrName)
    )
  }

  create(body: Json): string {
    if (textOf(body.ID) !== '') throw new Refusal(400, 'ID must be empty when creating a query')
    return this.#put(randomUUID(), body)
  }

  update(id: string, body: Json): void {
    this.known(id)
    this.#put(id, body)
  }

  delete(id: string): void {
    this.known(id)
    this.#state.write(transaction => transaction.delete('query', id))
  }

  /** @throws Refusal */
  known(id: string): Row<'query'> {
    const row = this.#state.get('query', id)
    if (row === undefined) throw new Refusal(404, 'Query not found')
    return row
  }

  #put(id: string, body: Json): string {
    const service = object(body.Service)
    if (textOf(object(body.Template).Type) !== '')
      throw new Refusal(400, 'Template: got one, expected none: query templates are not there')
    if (textOf(service.Service) === '') throw new Refusal(400, 'Must provide a Service name to query')
    const failover = object(service.Failover)
    if (Number(failover.NearestN ?? 0) > 0 || ((failover.Datacenters ?? []) as unknown[]).length > 0)
      throw new Refusal(400, 'Failover: got other datacenters, expected none: there is one datacenter')
    const name = textOf(body.Name)
    const twin = name === '' ? undefined : this.list().find(row => row.Name === name)
    if (twin !== undefined && twin.ID !== id)
      throw new Refusal(500, `name '${name}' aliases an existing query name`)
    const { ID, CreateIndex, ModifyIndex, ...definition } = body
    this.#state.write(transaction => transaction.put('query', id, { ID: id, Name: name, definition }))
    return id
  }
}
