// The intentions for our service and the default policy, followed at the agent. What is known holds while the agent is away or
// refuses to tell.
import { randomUUID } from 'node:crypto'
import { type Action, decide, type Intention, type Intentions } from '../authorization/intentions.ts'
import type { SidespliceError } from '../errors.ts'
import { authorizeRequest } from './authorize.ts'
import { Alarm, type Clock } from './back-off.ts'
import { followBlocking, refused } from './blocking-query.ts'
import type { Answer, ConsulClient, Request } from './client.ts'
import { pollMs as defaultPollMs, poll, shortAnswerMs } from './poll.ts'
import { parseAuthorization, parseIntentions } from './wire.ts'

export interface IntentionsFollowerOptions {
  readonly client: ConsulClient
  readonly service: string
  readonly onIntentions: (intentions: Intentions) => void
  readonly onFailure: (error: SidespliceError, what: string) => void
  readonly onContact: (what: string) => void
  readonly onWarning: (message: string) => void
  readonly signal: AbortSignal
  /** How often `/match` is asked where it does not block and nothing says that it has changed. */
  readonly pollMs?: number
  /** How often the default is asked for where nothing says that it has changed. */
  readonly defaultMs?: number
  /** By which the pace of questions is counted. */
  readonly clock?: Clock
}

const blockingAnswerMs = 75_000
// A revocation takes effect within a second, also where it is the third change in one: what announces it and what tells of it, one
// after the other.
const matchPaceMs = 250
// Where nothing announces a change of the default policy.
const askDefaultEveryMs = 5 * 60_000
const askStaleMs = 1_000
// How long a rule that hid the default may keep the news of its own end: the default is asked for first. With the two paces above it
// stays within the second.
const holdBackMs = 500

export class IntentionsFollower {
  readonly #options: IntentionsFollowerOptions
  readonly #matchAlarm = new Alarm()
  readonly #defaultAlarm = new Alarm()
  /** Ends the watch of the list, which is of no use where `/match` blocks. */
  readonly #listStop = new AbortController()
  #rules: readonly Intention[] | undefined
  #default: Action | 'unknown' = 'unknown'
  #headerPolicy: string | undefined
  #heldBack: NodeJS.Timeout | undefined
  #told = ''
  #lost = false

  constructor(options: IntentionsFollowerOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    await Promise.all([this.#followMatch(), this.#followList(), this.#followDefault()])
    clearTimeout(this.#heldBack)
  }

  /**
   * `/match` is what decides: 403 where the token may not read, while the list leaves rows out without a word. Up to Consul 1.8
   * it does not block; then the list's index wakes it.
   */
  #followMatch(): Promise<void> {
    const { service, signal, onFailure, onContact, pollMs = defaultPollMs } = this.#options
    let index = 0
    return poll({
      client: this.#options.client,
      alarm: this.#matchAlarm,
      paceMs: matchPaceMs,
      clock: this.#options.clock,
      signal,
      onFailure: error => {
        index = 0
        this.#lost = true
        onFailure(error, 'intentions')
      },
      turn: async () => {
        const blocking = index > 0 ? { index: String(index), wait: '60s' } : {}
        const answer = await this.#ask({
          lane: index > 0 ? 'watch' : 'short',
          path: '/v1/connect/intentions/match',
          query: { by: 'destination', name: service, ...blocking },
          timeoutMs: index > 0 ? blockingAnswerMs : shortAnswerMs,
        })
        const rules = parseIntentions(answer, service)
        const blocks = answer.index > 0
        // One that goes backwards is that of another cluster: asked anew, at once.
        index = answer.index >= index ? answer.index : 0
        if (blocks) this.#listStop.abort()
        onContact('intentions')
        this.#setRules(rules)
        if (this.#lost) this.#defaultAlarm.ring()
        this.#lost = false
        return blocks ? 0 : pollMs
      },
    })
  }

  /**
   * A wake-up for `/match`, and nothing else: its rows are not looked at. Where `/match` blocks by itself (from 1.9 on) it ends: an
   * agent counts connections.
   */
  async #followList(): Promise<void> {
    const { client, signal, onContact } = this.#options
    await followBlocking({
      client,
      lane: 'watch',
      path: '/v1/connect/intentions',
      cursor: 'index',
      parse: () => undefined,
      onValue: () => this.#matchAlarm.ring(),
      // `/match` says what is wrong; later versions may refuse the list alone.
      onFailure: error => {
        // An agent that is back may have another default.
        if (error.code === 'agent_unreachable') this.#lost = true
        this.#matchAlarm.ring()
      },
      onContact: () => onContact('intentions list'),
      paceMs: matchPaceMs,
      clock: this.#options.clock,
      signal: AbortSignal.any([signal, this.#listStop.signal]),
    })
  }

  /** The default, by asking about a source that no intention can name. Only an answer that no intention gave counts. */
  #followDefault(): Promise<void> {
    const { service, signal, onFailure, onContact, defaultMs = askDefaultEveryMs } = this.#options
    return poll({
      client: this.#options.client,
      alarm: this.#defaultAlarm,
      paceMs: matchPaceMs,
      clock: this.#options.clock,
      signal,
      onFailure: error => onFailure(error, 'default intention'),
      turn: async () => {
        const uri = `spiffe://${randomUUID()}.consul/ns/default/dc/none/svc/${randomUUID()}`
        const answer = await this.#ask(authorizeRequest({ service, uri, serial: '01' }))
        const { authorized, reason } = parseAuthorization(answer)
        onContact('default intention')
        const counts = !reason.startsWith('Matched ')
        this.#setDefault(counts ? (authorized ? 'allow' : 'deny') : 'unknown')
        // The agent may answer from its cache, by a rule that has gone: asked again soon.
        return counts || this.#anyoneMatches() ? defaultMs : askStaleMs
      },
    })
  }

  /** @throws SidespliceError where the agent does not answer, or not with 200 */
  async #ask(request: Request): Promise<Answer> {
    const { client, signal } = this.#options
    const answer = await client.send({ ...request, signal })
    // A refusal has the header too.
    this.#noteHeader(answer)
    if (answer.status !== 200) throw refused(request.path, answer)
    return answer
  }

  /** Consul sends the ACL default along from 1.9 on. One that turns to deny holds at once, whatever was learnt before. */
  #noteHeader({ defaultPolicy }: Answer): void {
    if (defaultPolicy === undefined || defaultPolicy === this.#headerPolicy) return
    this.#headerPolicy = defaultPolicy
    this.#defaultAlarm.ring()
    this.#tell()
  }

  #setDefault(learnt: Action | 'unknown'): void {
    this.#default = learnt
    if (learnt !== 'unknown' && this.#headerPolicy !== undefined && this.#headerPolicy !== learnt) {
      this.#options.onWarning(
        `the default for intentions is ${learnt}, the agent's ACL default ${this.#headerPolicy}: denying (from Consul 1.18 on default_intention_policy may be the reason)`,
      )
    }
    this.#tell()
  }

  #setRules(rules: readonly Intention[]): void {
    const text = (rule: Intention) => JSON.stringify(rule)
    const now = new Set(rules.map(text))
    const gone = (this.#rules ?? []).some(rule => !now.has(text(rule)))
    this.#rules = rules
    if (!gone) return this.#tell()
    // What it said for every source may have hidden the default: that is asked for before anybody is denied by its absence.
    this.#defaultAlarm.ring()
    if (this.#default !== 'unknown') return this.#tell()
    clearTimeout(this.#heldBack)
    this.#heldBack = setTimeout(() => this.#tell(), holdBackMs)
  }

  /** Whether a rule speaks for every source, so that the default can't be learnt. */
  #anyoneMatches(): boolean {
    const source = { partition: 'default', namespace: 'default', datacenter: 'none', service: randomUUID() }
    return decide({ rules: this.#rules ?? [], defaultAction: 'deny' }, source).rule !== undefined
  }

  #tell(): void {
    clearTimeout(this.#heldBack)
    if (this.#rules === undefined || this.#options.signal.aborted) return
    // Deny until it is learnt, and where what was learnt and what the agent says elsewhere differ.
    const allowed = this.#default === 'allow' && (this.#headerPolicy ?? 'allow') === 'allow'
    const intentions = Object.freeze({
      rules: this.#rules,
      defaultAction: allowed ? 'allow' : 'deny',
    } as const)
    const text = JSON.stringify(intentions)
    if (text === this.#told) return
    this.#told = text
    this.#options.onIntentions(intentions)
  }
}
