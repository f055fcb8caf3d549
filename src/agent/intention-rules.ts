// Intentions: made, changed, found by either end, and what they say of a connection.
import { randomUUID } from 'node:crypto'
import { type Action, decide, type Intention, precedence } from '../authorization/intentions.ts'
import type { Json } from '../consul/shape.ts'
import { Refusal } from './refusal.ts'
import type { IntentionRow, Row } from './rows.ts'
import type { State } from './state.ts'

export interface Verdict {
  readonly allowed: boolean
  readonly rule: Row<'intention'> | undefined
}

const uuidForm = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export class IntentionRules {
  readonly #state: State
  readonly #now: () => Date

  constructor(state: State, now: () => Date = () => new Date()) {
    this.#state = state
    this.#now = now
  }

  /** In order of precedence, the highest first. */
  list(): readonly Row<'intention'>[] {
    return this.#state.all('intention').toSorted(byPrecedence)
  }

  get(id: string): Row<'intention'> | undefined {
    return this.#state.get('intention', id)
  }

  exact(source: string, destination: string): Row<'intention'> | undefined {
    return this.#state
      .all('intention')
      .find(row => row.SourceName === source && row.DestinationName === destination)
  }

  /** Those that speak of the service, by its own name or by a wildcard. */
  match(by: 'source' | 'destination', name: string): readonly Row<'intention'>[] {
    const key = by === 'source' ? 'SourceName' : 'DestinationName'
    return this.list().filter(row => row[key] === name || row[key] === '*')
  }

  decide(source: string, destination: string, defaultAction: Action): Verdict {
    const rows = this.match('destination', destination)
    const rules = rows.map(ruleOf)
    const who = { partition: 'default', namespace: 'default', datacenter: '', service: source }
    const { action, rule } = decide({ rules, defaultAction }, who)
    return { allowed: action === 'allow', rule: rule === undefined ? undefined : rows[rules.indexOf(rule)] }
  }

  /** @throws Refusal where there is one for these two already */
  create(body: Json): string {
    if (typeof body.ID === 'string' && body.ID !== '')
      throw new Refusal(400, 'ID must be empty when creating a new intention')
    const id = randomUUID()
    const at = this.#now().toISOString()
    this.#put(id, { ...readIntention(body), ID: id, CreatedAt: at, UpdatedAt: at })
    return id
  }

  /** @throws Refusal */
  update(id: string, body: Json): void {
    const before = this.get(id)
    if (before === undefined) throw new Refusal(500, `Cannot modify non-existent intention: '${id}'`)
    this.#put(id, {
      ...readIntention(body),
      ID: id,
      CreatedAt: before.CreatedAt,
      UpdatedAt: this.#now().toISOString(),
    })
  }

  /** Made, or changed where there is one for these two. */
  upsert(source: string, destination: string, body: Json): void {
    const before = this.exact(source, destination)
    const named = { ...body, SourceName: source, DestinationName: destination }
    if (before === undefined) this.create(named)
    else this.update(before.ID, named)
  }

  delete(id: string): void {
    if (!uuidForm.test(id))
      throw new Refusal(500, 'failed intention lookup: index error: UUID must be 36 characters')
    if (this.get(id) === undefined) throw new Refusal(500, `Cannot delete non-existent intention: '${id}'`)
    this.#state.write(transaction => transaction.delete('intention', id))
  }

  #put(id: string, row: IntentionRow): void {
    const twin = this.exact(row.SourceName, row.DestinationName)
    if (twin !== undefined && twin.ID !== id)
      throw new Refusal(
        500,
        `duplicate intention found: ${twin.Action.toUpperCase()} default/${twin.SourceName} => default/${twin.DestinationName} (ID: ${twin.ID}, Precedence: ${precedenceOf(twin)})`,
      )
    this.#state.write(transaction => transaction.put('intention', id, row))
  }
}

export function isUuid(text: string): boolean {
  return uuidForm.test(text)
}

export function precedenceOf(row: IntentionRow): number {
  return precedence(ruleOf(row))
}

function ruleOf(row: IntentionRow): Intention {
  return {
    sourceNamespace: 'default',
    sourceName: row.SourceName,
    sourcePartition: 'default',
    destinationNamespace: 'default',
    destinationName: row.DestinationName,
    action: row.Action,
  }
}

function byPrecedence(a: IntentionRow, b: IntentionRow): number {
  return (
    precedenceOf(b) - precedenceOf(a) ||
    Number(a.SourceName > b.SourceName) - Number(a.SourceName < b.SourceName) ||
    Number(a.DestinationName > b.DestinationName) - Number(a.DestinationName < b.DestinationName)
  )
}

function readIntention(body: Json): Omit<IntentionRow, 'ID' | 'CreatedAt' | 'UpdatedAt'> {
  const text = (key: string) => String(body[key] ?? '')
  for (const key of ['SourceNS', 'DestinationNS'])
    if (!['', 'default'].includes(text(key)))
      throw new Refusal(
        400,
        `${key}: got ${JSON.stringify(body[key])}, expected "default": there are no namespaces here`,
      )
  if (!['', 'consul'].includes(text('SourceType')))
    throw new Refusal(500, `SourceType must be set to 'consul'`)
  const [source, destination, action] = [text('SourceName'), text('DestinationName'), text('Action')]
  for (const [key, name] of [
    ['SourceName', source],
    ['DestinationName', destination],
  ] as const) {
    if (name === '') throw new Refusal(500, `${key} must be set`)
    if (name !== '*' && name.includes('*'))
      throw new Refusal(500, `${key}: wildcard character '*' cannot be used with partial values`)
  }
  if (action !== 'allow' && action !== 'deny')
    throw new Refusal(500, `Action must be set to 'allow' or 'deny', got ${JSON.stringify(action)}`)
  return {
    Description: text('Description'),
    SourceName: source,
    DestinationName: destination,
    Action: action,
    Meta: (body.Meta ?? {}) as Readonly<Record<string, string>>,
  }
}
