// Following a value of the agent by blocking queries: the cursor, its rules, and what happens when the agent does not answer.
import { SidespliceError } from '../errors.ts'
import { BackOff, type Clock, Pace, pause } from './back-off.ts'
import { type Answer, type ConsulClient, type Lane, refusalOf } from './client.ts'
import { asFailure, pollMs as defaultPollMs, shortAnswerMs } from './poll.ts'

export interface BlockingQueryOptions<T> {
  readonly client: ConsulClient
  readonly lane: Lane
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  /** Index (X-Consul-Index) or hash (X-Consul-ContentHash) blocking. */
  readonly cursor: 'index' | 'hash'
  /**
   * Outside text becomes a value here.
   * @throws what makes the answer a failed one: it is logged and asked for again
   */
  readonly parse: (answer: Answer) => T
  /**
   * Looks at a value before it is taken. Where it names a time the value is not, and is asked for anew after that time, by a call
   * that does not block. Milliseconds.
   */
  readonly doubt?: (value: T, answer: Answer) => number | undefined
  readonly onValue: (value: T, answer: Answer) => void
  readonly onFailure: (error: SidespliceError) => void
  /** A good answer came, with a new value or without. */
  readonly onContact: () => void
  readonly signal: AbortSignal
  readonly random?: () => number
  /** How often an endpoint is asked that gives no cursor to block by. */
  readonly pollMs?: number
  /** At least this long between two questions, once a burst of two is used up. */
  readonly paceMs?: number
  /** By which that is counted. */
  readonly clock?: Clock | undefined
}

// Long enough to be cheap, short enough that a dead connection is noticed soon.
const waitMs = 60_000
// The agent adds up to a sixteenth of the wait; what is beyond that and a margin is no answer any more.
const answerMs = waitMs * (17 / 16) + 10_000

/** Runs until the signal comes. The cursor is forgotten after a failure and when it goes backwards (a new agent, or cluster). */
export async function followBlocking<T>(options: BlockingQueryOptions<T>): Promise<void> {
  const { signal, pollMs = defaultPollMs } = options
  const backOff = new BackOff(options.random)
  const pace = new Pace(options.paceMs, options.clock)
  let cursor: string | undefined
  while (!signal.aborted) {
    await pace.turn(signal)
    if (signal.aborted) return
    try {
      const answer = await ask(options, cursor)
      if (signal.aborted) return
      const value = options.parse(answer)
      const next = cursorOf(options.cursor, answer, cursor)
      backOff.reset()
      options.onContact()
      const doubtedMs = options.doubt?.(value, answer)
      if (doubtedMs !== undefined) {
        cursor = undefined
        await pause(doubtedMs, signal)
        continue
      }
      options.onValue(value, answer)
      // Without a cursor the endpoint does not block: it is asked again at the pace of a poll. One that went backwards does block.
      if (next === undefined && (cursor === undefined || answer.index === 0)) await pause(pollMs, signal)
      cursor = next
    } catch (error) {
      if (signal.aborted) return
      cursor = undefined
      options.onFailure(asFailure(error))
      await options.client.pauseWhileAway(backOff.next(), signal)
    }
  }
}

async function ask<T>(options: BlockingQueryOptions<T>, cursor: string | undefined): Promise<Answer> {
  const { client, lane, path, query, signal } = options
  const blocking = cursor === undefined ? {} : { [options.cursor]: cursor, wait: `${waitMs}ms` }
  const timeoutMs = cursor === undefined ? shortAnswerMs : answerMs
  const answer = await client.send({ lane, path, query: { ...query, ...blocking }, timeoutMs, signal })
  if (answer.status !== 200) throw refused(path, answer)
  return answer
}

/** Consul: blocking queries. An index that is 0 or goes backwards starts anew; the very first must not be sent back as 0. */
function cursorOf(kind: 'index' | 'hash', answer: Answer, former: string | undefined): string | undefined {
  if (kind === 'hash') return answer.contentHash
  if (answer.index === 0) return undefined
  if (former !== undefined && answer.index < Number(former)) return undefined
  return String(answer.index)
}

export function refused(path: string, answer: Answer): SidespliceError {
  const code =
    answer.status === 403 ? 'agent_denied' : answer.status === 404 ? 'agent_not_found' : 'agent_refused'
  return new SidespliceError(`${path}: ${refusalOf(answer)}`, { source: 'consul', code })
}
