// The endpoints of one upstream, followed at the agent: healthy instances, or the answer of a prepared query.
import type { SidespliceError } from '../errors.ts'
import { Alarm, type Clock } from './back-off.ts'
import { followBlocking, refused } from './blocking-query.ts'
import type { Answer, ConsulClient, Lane } from './client.ts'
import { type Namespaced, namespaceQuery } from './namespace.ts'
import { poll, pollMs, shortAnswerMs } from './poll.ts'
import { type Instance, parseInstances, parseQueryResult } from './wire.ts'

export interface UpstreamFollowerOptions extends Namespaced {
  readonly client: ConsulClient
  readonly name: string
  readonly type: 'service' | 'prepared_query'
  readonly datacenter: string
  readonly onInstances: (instances: readonly Instance[]) => void
  /** An empty answer that can only come from a token without rights was not applied. */
  readonly onHidden: () => void
  readonly onFailure: (error: SidespliceError, what: string) => void
  readonly onContact: (what: string) => void
  readonly signal: AbortSignal
  readonly pollMs?: number
  /** By which the pace of questions is counted. */
  readonly clock?: Clock
}

// An instance is often registered, checked and found healthy within a second: the third change of it is what is waited for.
const paceMs = 250

export class UpstreamFollower {
  readonly #options: UpstreamFollowerOptions
  #lastIndex = 0
  #known = false
  #hidden = false
  /** The last answer had no instance, and was not believed yet. */
  #vanished = false
  readonly #alarm = new Alarm()

  constructor(options: UpstreamFollowerOptions) {
    this.#options = options
  }

  run(): Promise<void> {
    return this.#options.type === 'service' ? this.#followService() : this.#pollQuery()
  }

  /** After a failed dial the query is run at once. */
  wake(): void {
    this.#alarm.ring()
  }

  async #followService(): Promise<void> {
    const lane = this.#options.client.openLane()
    await this.#follow(lane).finally(() => lane.close())
  }

  #follow(lane: Lane): Promise<void> {
    const { client, name, datacenter, signal, onInstances, onFailure, onContact } = this.#options
    return followBlocking({
      client,
      lane,
      path: `/v1/health/connect/${encodeURIComponent(name)}`,
      query: {
        passing: 'true',
        ...(datacenter !== '' && { dc: datacenter }),
        ...namespaceQuery(client, this.#options),
      },
      cursor: 'index',
      parse: parseInstances,
      doubt: (instances, answer) => this.#doubt(instances, answer),
      onValue: (instances, answer) => {
        this.#hidden = false
        this.#vanished = false
        this.#lastIndex = answer.index
        this.#known = instances.length > 0
        onInstances(instances)
      },
      onFailure: error => onFailure(error, `upstream ${name}`),
      onContact: () => onContact(`upstream ${name}`),
      signal,
      paceMs,
      clock: this.#options.clock,
      ...(this.#options.pollMs !== undefined && { pollMs: this.#options.pollMs }),
    })
  }

  /** Whether that there is none may only mean that the token may not see them. */
  #doubt(instances: readonly Instance[], answer: Answer): number | undefined {
    if (instances.length > 0 || !this.#known) return undefined
    if (this.#wasHidden(answer)) {
      this.#tellHidden()
      // By its index it would block until the wait is over, whatever the token may do by then.
      return this.#options.pollMs ?? pollMs
    }
    // A query that was blocking when the token lost its rights has its rows taken and its index left (1.8): asked once more.
    if (this.#vanished) return undefined
    this.#vanished = true
    return 0
  }

  /** Rows are left out by ACLs without a refusal: the index falls to 1, or from 1.11 on a header says so. */
  #wasHidden(answer: Answer): boolean {
    return answer.filteredByAcls || (answer.index <= 1 && this.#lastIndex > 1)
  }

  #pollQuery(): Promise<void> {
    const { name, datacenter, signal, onInstances, onFailure, onContact } = this.#options
    const path = `/v1/query/${encodeURIComponent(name)}/execute`
    const query = { connect: 'true', ...(datacenter !== '' && { dc: datacenter }) }
    return poll({
      client: this.#options.client,
      alarm: this.#alarm,
      signal,
      onFailure: error => onFailure(error, `upstream ${name}`),
      turn: async () => {
        const answer = await this.#ask(path, query)
        const { service, instances } = parseQueryResult(answer)
        onContact(`upstream ${name}`)
        if (instances.length > 0 || !this.#known || !(await this.#hidesFrom(answer, service))) {
          this.#hidden = false
          this.#known = instances.length > 0
          onInstances(instances)
        } else this.#tellHidden()
        return this.#options.pollMs ?? pollMs
      },
    })
  }

  /** A query says nothing of what the token may not see, and has no index: that of its service's instances is looked at. */
  async #hidesFrom(answer: Answer, service: string): Promise<boolean> {
    if (answer.filteredByAcls) return true
    const path = `/v1/health/connect/${encodeURIComponent(service)}`
    return (await this.#ask(path, { passing: 'true' })).index <= 1
  }

  #tellHidden(): void {
    if (!this.#hidden) this.#options.onHidden()
    this.#hidden = true
  }

  async #ask(path: string, query: Readonly<Record<string, string>>): Promise<Answer> {
    const { client, signal } = this.#options
    const answer = await client.send({ lane: 'short', path, query, timeoutMs: shortAnswerMs, signal })
    if (answer.status !== 200) throw refused(path, answer)
    return answer
  }
}
