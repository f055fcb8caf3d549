// One call of the HTTP API as its handlers see it, and how an answer that may block is made.
import type { Json } from '../../consul/shape.ts'
import { parseDuration } from '../duration.ts'
import { Refusal } from '../refusal.ts'
import type { Rights } from '../rights.ts'
import { topicOf } from '../topics.ts'
import type { World } from '../world.ts'

export type Query = Readonly<Record<string, string | readonly string[] | undefined>>

export interface Call {
  readonly world: World
  readonly params: Readonly<Record<string, string>>
  readonly query: Query
  /** Checked by the route's schema. */
  readonly body: Json
  /** Looked up anew each time: a token may be taken away while a call blocks. @throws Refusal */
  readonly rights: () => Rights
  /** Its caller has gone, or the agent is about to. */
  readonly signal: AbortSignal
}

export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** JSON. */
  readonly body?: unknown
  readonly text?: string
  /** Of text. */
  readonly type?: string
}

export type Handler = (call: Call) => Reply | Promise<Reply>

// Consul's: five minutes unless said otherwise, ten at most, and up to a sixteenth on top, so that not all come back at once.
const [defaultWaitMs, longestWaitMs, jitterShare] = [300_000, 600_000, 1 / 16]

export interface BlockingAnswer {
  readonly body: unknown
  /** Where the answer has another index than that of its topics. */
  readonly index?: number
  /** When it changes by itself. */
  readonly dueAt?: number
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * Answers at once, or where the caller knows the index already, once one of the topics moved.
 * @throws Refusal
 */
export async function blockByIndex(
  call: Call,
  topics: readonly string[],
  read: (rights: Rights) => BlockingAnswer | Promise<BlockingAnswer>,
): Promise<Reply> {
  const { world, signal } = call
  const known = readIndex(call)
  const deadlineAt = performance.now() + waitMs(call, known > 0)
  const watched = [...topics, topicOf.tokens]
  for (;;) {
    const rights = call.rights()
    const seen = world.state.indexOf(watched)
    const answer = await read(rights)
    const index = answer.index ?? world.state.indexOf(topics)
    const leftMs = deadlineAt - performance.now()
    if (known === 0 || index > known || index < known || leftMs <= 0 || signal.aborted) {
      return {
        headers: { ...serverHeaders(world), 'X-Consul-Index': String(index), ...answer.headers },
        body: answer.body,
      }
    }
    const dueMs = answer.dueAt === undefined ? leftMs : Math.max(answer.dueAt - Date.now(), 1)
    await world.state.wait(watched, { index: seen, ms: Math.min(leftMs, dueMs), signal })
  }
}

/** The same by a hash of the content, as questions about this agent alone block. */
export async function blockByHash(
  call: Call,
  topic: string,
  read: (rights: Rights) => Json & { readonly ContentHash: string },
): Promise<Reply> {
  const { world, signal } = call
  const known = textOf(call.query, 'hash')
  const deadlineAt = performance.now() + waitMs(call, known !== '')
  const watched = [topic, topicOf.tokens]
  for (;;) {
    const seen = world.state.indexOf(watched)
    const body = read(call.rights())
    const leftMs = deadlineAt - performance.now()
    if (body.ContentHash !== known || leftMs <= 0 || signal.aborted)
      return { headers: { 'X-Consul-ContentHash': body.ContentHash }, body }
    await world.state.wait(watched, { index: seen, ms: leftMs, signal })
  }
}

export function serverHeaders(world: World): Readonly<Record<string, string>> {
  return {
    'X-Consul-Effective-Consistency': 'leader',
    'X-Consul-Knownleader': 'true',
    'X-Consul-Lastcontact': '0',
    'X-Consul-Default-Acl-Policy': world.tokens.defaultAction,
  }
}

function readIndex({ query }: Call): number {
  const text = textOf(query, 'index')
  if (text === '') return 0
  if (!/^[0-9]{1,20}$/.test(text)) throw new Refusal(400, 'Invalid index')
  return Number(text)
}

function waitMs({ query }: Call, blocks: boolean): number {
  const text = textOf(query, 'wait')
  const asked = text === '' ? defaultWaitMs : parseDuration(text)
  if (asked === undefined) throw new Refusal(400, 'Invalid wait time')
  if (!blocks) return 0
  const ms = Math.min(asked === 0 ? defaultWaitMs : asked, longestWaitMs)
  return ms + Math.random() * ms * jitterShare
}

/** A parameter of the query; of several the first. */
export function textOf(query: Query, key: string): string {
  const value = query[key]
  if (Array.isArray(value)) return String(value[0] ?? '')
  return (value ?? '') as string
}

/** Named without a value it means yes, as Consul's clients write it. */
export function flagOf(query: Query, key: string): boolean {
  const text = query[key] === undefined ? 'false' : textOf(query, key)
  return !['0', 'f', 'false'].includes(text.toLowerCase())
}

/** @throws Refusal */
export function requireDatacenter({ query, world }: Call): void {
  const named = textOf(query, 'dc')
  if (named !== '' && named !== world.node.datacenter) throw new Refusal(500, 'No path to datacenter')
}

export function denied(): Refusal {
  return new Refusal(403, 'Permission denied')
}

/** @throws Refusal where a right is missing */
export function require(allowed: boolean): void {
  if (!allowed) throw denied()
}
