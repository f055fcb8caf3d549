// Where the agent authorizes: the questions about peers that connect, and about those of live sessions once something changed.
// Knows nothing of Consul's API: it is handed what asks.
import { isDeepStrictEqual } from 'node:util'
import type { AgentQuestion, AgentVerdict, AskAgent } from '../authorization/authorization.ts'
import { BackOff, pause } from '../consul/back-off.ts'
import type { DataPlane } from '../data-plane/interface.ts'
import { SidespliceError } from '../errors.ts'
import { sessionsToAskAbout } from '../policy/denied-sessions.ts'
import type { AdmitAnswer, Undecided } from '../policy/policy.ts'
import type { Snapshot } from '../snapshot/snapshot.ts'
import { policyTimeoutMs } from './listeners.ts'
import type { Log } from './log.ts'

export interface AgentAuthorizationOptions {
  readonly ask: AskAgent | undefined
  readonly dataPlane: Pick<DataPlane, 'sessions' | 'terminate'>
  readonly log: Log
  readonly answerMs?: number
  readonly lookAgainMs?: readonly number[]
}

// Before the data plane gives up, so that the refusal says why.
const answerWithinMs = policyTimeoutMs * 0.9
// The agent decides from a cache of its own, which may learn of a change later than we do (consul-connect: background refresh):
// after a change it is asked at once, and again after these pauses.
const pausesMs = [250, 500, 1_500, 5_000] as const
// Questions about live sessions at a time. New connections wait beside them, not behind.
const workers = 2

export class AgentAuthorization {
  readonly #options: AgentAuthorizationOptions
  readonly #open = new Set<AbortController>()
  #snapshot: Snapshot | undefined
  #looking = new AbortController()

  constructor(options: AgentAuthorizationOptions) {
    this.#options = options
  }

  /** Hands on what is decided at once, and the rest as the agent answers. */
  complete(
    answers: readonly (AdmitAnswer | Undecided)[],
    answer: (answers: readonly AdmitAnswer[]) => void,
  ): void {
    const decided: AdmitAnswer[] = []
    for (const one of answers) {
      if (one.admitted === undefined) void this.#decide(one).then(late => answer([late]))
      else decided.push(one)
    }
    if (decided.length > 0) answer(decided)
  }

  /** From now on this is the state; where it may change what the agent says, live sessions are asked about. */
  noteState(snapshot: Snapshot): void {
    const former = this.#snapshot
    this.#snapshot = snapshot
    if (former !== undefined && isDeepStrictEqual(deciding(former), deciding(snapshot))) return
    this.#looking.abort()
    this.#looking = new AbortController()
    if (snapshot.inbound?.authorization.by === 'agent') void this.#lookAgain(this.#looking.signal)
  }

  close(): void {
    this.#looking.abort()
    for (const open of this.#open) open.abort()
  }

  /** Never rejects: without the agent's word nobody is admitted. */
  async #decide({ question, admission }: Undecided): Promise<AdmitAnswer> {
    const { session, generation, peer } = admission
    const refuse = { session, generation, peer, admitted: false, reason: 'denied' } as const
    const said = await this.#ask(question)
    if ('failure' in said) return { ...refuse, detail: `the agent did not decide: ${said.failure.message}` }
    return said.authorized ? admission : { ...refuse, detail: `the agent: ${said.reason.slice(0, 200)}` }
  }

  /** Until the agent must have learnt of the change and has answered about each peer, or the next change comes. */
  async #lookAgain(signal: AbortSignal): Promise<void> {
    const { lookAgainMs = pausesMs, log } = this.#options
    const backOff = new BackOff()
    let warned = false
    for (let round = 0; !signal.aborted; round++) {
      const failure = await this.#askAboutLive(signal)
      if (signal.aborted) return
      if (failure !== undefined && !warned) {
        warned = true
        log.warn(
          { error: failure.message },
          'the agent does not say whether live sessions may go on; they do, and it is asked again',
        )
      }
      const pauseMs = lookAgainMs[round] ?? (failure === undefined ? undefined : backOff.next())
      if (pauseMs === undefined) return
      await pause(pauseMs, signal)
    }
  }

  /** One question a peer. Returns what stood in the way of an answer, if anything did. */
  async #askAboutLive(signal: AbortSignal): Promise<SidespliceError | undefined> {
    const { dataPlane, log } = this.#options
    if (this.#snapshot === undefined) return undefined
    const peers = sessionsToAskAbout(this.#snapshot, dataPlane.sessions()).values()
    let failed: SidespliceError | undefined
    const work = async () => {
      for (const { question, sessions } of peers) {
        const said = await this.#ask(question, signal)
        if (signal.aborted) return
        if ('failure' in said) {
          failed = said.failure
          // The next one would not be answered either.
          if (failed.code === 'agent_unreachable') return
        } else if (!said.authorized) {
          const ended = dataPlane.terminate(sessions, 'no_longer_allowed')
          if (ended > 0)
            log.info(
              { peer: question.uri, reason: said.reason.slice(0, 200), sessions_ended: ended },
              'the agent denies the peer of live sessions',
            )
        }
      }
    }
    await Promise.all(Array.from({ length: workers }, work))
    return failed
  }

  /** Answers in time, and leaves no question behind that nobody waits for. */
  async #ask(
    question: AgentQuestion,
    signal?: AbortSignal,
  ): Promise<AgentVerdict | { readonly failure: SidespliceError }> {
    const { ask, answerMs = answerWithinMs } = this.#options
    if (ask === undefined) return { failure: failureOf('there is no agent to ask') }
    const open = new AbortController()
    this.#open.add(open)
    const takeBack = () => open.abort()
    const limit = setTimeout(takeBack, answerMs)
    signal?.addEventListener('abort', takeBack)
    try {
      return await ask(question, open.signal)
    } catch (error) {
      if (open.signal.aborted) return { failure: failureOf(`no answer within ${answerMs} ms`) }
      return { failure: error instanceof SidespliceError ? error : failureOf(String(error)) }
    } finally {
      clearTimeout(limit)
      signal?.removeEventListener('abort', takeBack)
      this.#open.delete(open)
    }
  }
}

/** What the agent's word depends on, as far as it is known here. */
function deciding({ service, inbound }: Snapshot): object {
  return {
    service,
    authorization: inbound?.authorization,
    endDeniedSessions: inbound?.endDeniedSessions,
  }
}

function failureOf(message: string): SidespliceError {
  return new SidespliceError(message, { source: 'consul', code: 'agent_unreachable' })
}
