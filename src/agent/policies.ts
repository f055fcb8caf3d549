// ACL policies: made, changed, found and taken back. What their rules mean is in policy-rules.ts and grants.ts.
import { createHash, randomUUID } from 'node:crypto'
import type { Json } from '../consul/shape.ts'
import { isUuid } from './intention-rules.ts'
import { parseRules, type Rules } from './policy-rules.ts'
import { Refusal } from './refusal.ts'
import type { PolicyRow, Row } from './rows.ts'
import type { State } from './state.ts'

/** Consul's own ID of the policy that allows everything. */
export const managementPolicy = '00000000-0000-0000-0000-000000000001'
const nameForm = /^[A-Za-z0-9_-]{1,128}$/

export interface PoliciesOptions {
  readonly state: State
  readonly datacenter: string
  /** When the node came, and with it what is built in. */
  readonly since: number
}

export class Policies {
  readonly #state: State
  readonly #datacenter: string
  readonly #builtin: Row<'policy'>
  /** Rows are never changed, only replaced. */
  readonly #rules = new WeakMap<Row<'policy'>, Rules>()

  constructor({ state, datacenter, since }: PoliciesOptions) {
    this.#state = state
    this.#datacenter = datacenter
    this.#builtin = { ...builtin, CreateIndex: since, ModifyIndex: since }
  }

  list(): readonly Row<'policy'>[] {
    return [this.#builtin, ...this.#state.all('policy')].toSorted((a, b) => Number(a.ID > b.ID) - 0.5)
  }

  find(id: string): Row<'policy'> | undefined {
    return id === managementPolicy ? this.#builtin : this.#state.get('policy', id)
  }

  findByName(name: string): Row<'policy'> | undefined {
    return this.list().find(row => row.Name === name)
  }

  /** Of those that are there, and hold in this datacenter. */
  rulesOf(ids: readonly string[]): readonly Rules[] {
    return ids.flatMap(id => {
      const row = this.find(id)
      const elsewhere =
        row !== undefined && row.Datacenters.length > 0 && !row.Datacenters.includes(this.#datacenter)
      return row === undefined || elsewhere ? [] : [this.#parsed(row)]
    })
  }

  create(body: Json): Row<'policy'> {
    if (textOf(body.ID) !== '')
      throw new Refusal(400, 'Bad request: Cannot specify the ID when creating a new policy')
    return this.#put(randomUUID(), body)
  }

  update(id: string, body: Json): Row<'policy'> {
    if (![id, ''].includes(textOf(body.ID)))
      throw new Refusal(400, 'Bad request: Policy ID in URL and payload do not match')
    if (id === managementPolicy)
      throw new Refusal(500, 'Changing the Rules for the builtin global-management policy is not permitted')
    if (this.find(id) === undefined) throw new Refusal(500, `cannot find policy ${id}`)
    return this.#put(id, body)
  }

  /** One that is not there is gone already. Tokens that have it lose what it gave at once. */
  delete(id: string): void {
    if (id === managementPolicy)
      throw new Refusal(500, 'Delete operation not permitted on the builtin global-management policy')
    this.#state.write(transaction => transaction.delete('policy', id))
  }

  /**
   * IDs of what a token's body names, by ID or by name.
   * @throws Refusal
   */
  resolve(links: readonly Json[]): readonly string[] {
    const ids = links.map(link => {
      const [id, name] = [textOf(link.ID), textOf(link.Name)]
      const row = id === '' ? this.findByName(name) : this.find(id)
      if (row !== undefined) return row.ID
      const which = id === '' ? `name ${JSON.stringify(name)}` : `ID ${JSON.stringify(id)}`
      throw new Refusal(500, `No such ACL policy with ${which}`)
    })
    return [...new Set(ids)]
  }

  /** @throws Refusal where it can be nobody's */
  known(id: string): Row<'policy'> {
    if (!isUuid(id))
      throw new Refusal(500, 'failed acl policy lookup: index error: UUID must be 36 characters')
    return found(this.find(id))
  }

  knownByName(name: string): Row<'policy'> {
    return found(this.findByName(name))
  }

  #put(id: string, body: Json): Row<'policy'> {
    const name = textOf(body.Name)
    if (name === '') throw new Refusal(500, 'Invalid Policy: no Name is set')
    if (!nameForm.test(name))
      throw new Refusal(
        500,
        "Invalid Policy: invalid Name. Only alphanumeric characters, '-' and '_' are allowed",
      )
    const twin = this.findByName(name)
    if (twin !== undefined && twin.ID !== id)
      throw new Refusal(500, `Invalid Policy: A Policy with Name ${JSON.stringify(name)} already exists`)
    const row: PolicyRow = {
      ...{ ID: id, Name: name, Description: textOf(body.Description), Rules: textOf(body.Rules) },
      Datacenters: (body.Datacenters ?? []) as readonly string[],
    }
    parseRules(row.Rules)
    this.#state.write(transaction => transaction.put('policy', id, row))
    return this.known(id)
  }

  #parsed(row: Row<'policy'>): Rules {
    const rules = this.#rules.get(row) ?? parseRules(row.Rules)
    this.#rules.set(row, rules)
    return rules
  }
}

/** An entry of the list has no rules, and says by null that it holds everywhere. */
export function policyListBody({ Rules, ...row }: Row<'policy'>): Json {
  const { ID, Name, Description, Datacenters, CreateIndex, ModifyIndex } = row
  return {
    ...{ ID, Name, Description, Datacenters: Datacenters.length === 0 ? null : Datacenters },
    ...{ Hash: hashOf({ ...row, Rules }), CreateIndex, ModifyIndex },
  }
}

export function policyBody(row: Row<'policy'>): Json {
  const { ID, Name, Description, Rules, Datacenters, CreateIndex, ModifyIndex } = row
  return {
    ...{ ID, Name, Description, Rules },
    ...(Datacenters.length > 0 && { Datacenters }),
    ...{ Hash: hashOf(row), CreateIndex, ModifyIndex },
  }
}

function hashOf({ Name, Description, Rules, Datacenters }: PolicyRow): string {
  return createHash('sha256')
    .update(JSON.stringify([Name, Description, Rules, Datacenters]))
    .digest('base64')
}

function found(row: Row<'policy'> | undefined): Row<'policy'> {
  if (row === undefined) throw new Refusal(403, 'ACL not found')
  return row
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

const prefixes = ['service', 'node', 'agent', 'query', 'key', 'session', 'event']
const builtin: PolicyRow = {
  ID: managementPolicy,
  Name: 'global-management',
  Description: 'Builtin Policy that grants unlimited access',
  Rules: [
    ...['acl', 'operator', 'keyring'].map(kind => `${kind} = "write"\n`),
    ...prefixes.map(
      kind => `${kind}_prefix "" { policy = "write"${kind === 'service' ? ' intentions = "write"' : ''} }\n`,
    ),
  ].join(''),
  Datacenters: [],
}
