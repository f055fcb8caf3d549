// The intentions for our service and the default policy, followed at the agent. What is known holds while the agent is away or
// refuses to tell.
import { randomUUID } from 'node:crypto'
import type { Action, Intention, Intentions } from '../authorization/intentions.ts'
import type { SidespliceError } from '../errors.ts'
import { BackOff, pause } from './back-off.ts'
import { followBlocking, refused } from './blocking-query.ts'
import type { Answer, ConsulClient } from './client.ts'
import { parseAuthorization, parseIntentions } from './wire.ts'

export interface IntentionsFollowerOptions {
  readonly client: ConsulClient
  readonly service: string
  readonly onIntentions: (intentions: Intentions) => void
  readonly onFailure: (error: SidespliceError, what: string) => void
  readonly onContact: (what: string) => void
  readonly onWarning: (message: string) => void
  readonly signal: AbortSignal
}

const shortAnswerMs = 10_000
// Where nothing announces a change of the default policy.
const askDefaultEveryMs = 5 * 60_000

export class IntentionsFollower {
  readonly #options: IntentionsFollowerOptions
  #rules: readonly Intention[] | undefined
  #defaultAction: Action = 'deny'
  #told = ''
  #headerPolicy: string | undefined
  #wakeMatch: () => void = () => {}
  #wakeDefault: () => void = () => {}
  #lost = false
  #matchBlocks = false
  #onFirstMatch: () => void = () => {}
  readonly #firstMatch = new Promise<void>(resolve => {
    this.#onFirstMatch = resolve
  })

  constructor(options: IntentionsFollowerOptions) {
    this.#options = options
  }

  async run(): Promise<void> {
    // Where the first answer never comes there is nothing to wake either.
    this.#options.signal.addEventListener('abort', () => this.#onFirstMatch())
    await Promise.all([this.#followMatch(), this.#followList(), this.#followDefault()])
  }

  /**
   * `/match` is what decides: 403 where the token may not read, while the list leaves rows out without a word. Up to Consul 1.8
   * it does not block; then the list's index wakes it.
   */
  async #followMatch(): Promise<void> {
    const { client, service, signal, onFailure, onContact } = this.#options
    const backOff = new BackOff()
    let index = 0
    while (!signal.aborted) {
      const woken = new Promise<void>(resolve => {
        this.#wakeMatch = resolve
      })
      try {
        const path = '/v1/connect/intentions/match'
        const blocking = index > 0 ? { index: String(index), wait: '60s' } : {}
        const query = { by: 'destination', name: service, ...blocking }
        const lane = index > 0 ? ('watch' as const) : ('short' as const)
        const answer = await client.send({
          lane,
          path,
          query,
          timeoutMs: index > 0 ? 75_000 : shortAnswerMs,
          signal,
        })
        if (answer.status !== 200) throw refused(path, answer)
        const rules = parseIntentions(answer, service)
        index = answer.index >= index ? answer.index : 0
        backOff.reset()
        onContact('intentions')
        this.#matchBlocks = index > 0
        this.#onFirstMatch()
        this.#noteHeader(answer)
        this.#setRules(rules)
        if (this.#lost) this.#wakeDefault()
        this.#lost = false
        if (index === 0) await Promise.race([woken, pause(pollMs, signal)])
      } catch (error) {
        if (signal.aborted) return
        index = 0
        this.#lost = true
        onFailure(error as SidespliceError, 'intentions')
        await pause(backOff.next(), signal)
      }
    }
  }

  /**
   * A wake-up for `/match`, and nothing else: its rows are not looked at. Where `/match` blocks by itself (from 1.9 on) it is not
   * asked for: an agent counts connections.
   */
  async #followList(): Promise<void> {
    const { client, signal, onContact } = this.#options
    await this.#firstMatch
    if (this.#matchBlocks) return
    await followBlocking({
      client,
      lane: 'watch',
      path: '/v1/connect/intentions',
      cursor: 'index',
      parse: () => undefined,
      onValue: () => this.#wakeMatch(),
      // `/match` says what is wrong; later versions may refuse the list alone.
      onFailure: () => this.#wakeMatch(),
      onContact: () => onContact('intentions list'),
      signal,
    })
  }

  /** The default, by asking about a source that no intention can name. Only an answer that no intention gave counts. */
  async #followDefault(): Promise<void> {
    const { client, service, signal, onFailure, onContact } = this.#options
    const backOff = new BackOff()
    while (!signal.aborted) {
      const woken = new Promise<void>(resolve => {
        this.#wakeDefault = resolve
      })
      try {
        const path = '/v1/agent/connect/authorize'
        const uri = `spiffe://${randomUUID()}.consul/ns/default/dc/none/svc/${randomUUID()}`
        const body = { Target: service, ClientCertURI: uri, ClientCertSerial: '01' }
        const answer = await client.send({
          lane: 'short',
          path,
          method: 'POST',
          body,
          timeoutMs: shortAnswerMs,
          signal,
        })
        if (answer.status !== 200) throw refused(path, answer)
        const { authorized, reason } = parseAuthorization(answer)
        backOff.reset()
        onContact('default intention')
        const counts = !reason.startsWith('Matched ')
        this.#setDefault(counts && authorized ? 'allow' : counts ? 'deny' : 'unknown', answer)
        await Promise.race([woken, pause(askDefaultEveryMs, signal)])
      } catch (error) {
        if (signal.aborted) return
        onFailure(error as SidespliceError, 'default intention')
        await pause(backOff.next(), signal)
      }
    }
  }

  /** Consul sends the ACL default along from 1.9 on; from 1.18 on `default_intention_policy` may differ from it. */
  #noteHeader(answer: Answer): void {
    this.#headerPolicy = answer.defaultPolicy ?? this.#headerPolicy
  }

  #setDefault(learnt: Action | 'unknown', answer: Answer): void {
    this.#noteHeader(answer)
    // A wildcard intention answers for every source: it is a rule of its own, and the default under it stays deny.
    let action: Action = learnt === 'allow' ? 'allow' : 'deny'
    if (learnt !== 'unknown' && this.#headerPolicy !== undefined && this.#headerPolicy !== learnt) {
      this.#options.onWarning(
        `the default for intentions is ${learnt}, the agent's ACL default ${this.#headerPolicy}: denying (from Consul 1.18 on default_intention_policy may be the reason)`,
      )
      action = 'deny'
    }
    if (action === this.#defaultAction) return
    this.#defaultAction = action
    this.#tell()
  }

  #setRules(rules: readonly Intention[]): void {
    const gone = (this.#rules ?? []).some(
      rule => !rules.some(other => JSON.stringify(other) === JSON.stringify(rule)),
    )
    this.#rules = rules
    // What it said for every source may have hidden the default.
    if (gone) this.#wakeDefault()
    this.#tell()
  }

  #tell(): void {
    if (this.#rules === undefined) return
    const intentions = Object.freeze({ rules: this.#rules, defaultAction: this.#defaultAction })
    const text = JSON.stringify(intentions)
    if (text === this.#told) return
    this.#told = text
    this.#options.onIntentions(intentions)
  }
}

// On versions where neither blocks.
const pollMs = 10_000
