// A proxy that registers itself with the agent: makes the registration, keeps it, says by its check whether the proxy is ready, and takes
// it back. Owns its timers and requests: after `end` nothing is registered again.
import type { Address } from '../address.ts'
import { SidespliceError } from '../errors.ts'
import { Alarm, pause } from './back-off.ts'
import { refused } from './blocking-query.ts'
import { type Answer, type ConsulClient, refusalOf } from './client.ts'
import { poll } from './poll.ts'
import { parseProxyService } from './wire.ts'

export interface SelfRegistrationOptions {
  readonly client: ConsulClient
  /** The service that the proxy stands for. */
  readonly service: string
  /** Tells proxies of one service on one agent apart. */
  readonly suffix?: string
  readonly listen: Address
  /** What stands between the proxy and readiness; the check passes where that is nothing. */
  readonly missing: () => readonly string[]
  /** @param because what the agent had instead */
  readonly onRegistered: (because: string) => void
  /** Once for each kind of failure, until it goes well again. */
  readonly onFailure: (error: SidespliceError) => void
  readonly heartbeatMs?: number
  readonly reconcileMs?: number
}

// The numbers of Consul's proxy: three heartbeats for each life of the check.
const ttl = '30s'
const defaultHeartbeatMs = 10_000
// A listener that can bind at last, since its predecessor has gone, is not to wait for the next heartbeat.
const unreadyHeartbeatMs = 2_000
const defaultReconcileMs = 30_000
const answerMs = 10_000
// A stop is not held up by an agent that is down: a request under way gets the first half, taking back what is left.
const endMs = 2_000
const deregisterTries = 3
const deregisterPauseMs = 500

export class SelfRegistration {
  readonly id: string
  readonly #options: SelfRegistrationOptions
  readonly #alarm = new Alarm()
  readonly #stop = new AbortController()
  /** Ends what is under way as well. */
  readonly #cut = new AbortController()
  #running: Promise<void> | undefined
  #ending: Promise<void> | undefined
  #reconciledAt = Number.NEGATIVE_INFINITY
  /** Whether the agent may hold a registration that we have made, or spoken for. */
  #mayBeRegistered = false
  /** The code of the failure that was told last. */
  #toldFailure: string | undefined

  constructor(options: SelfRegistrationOptions) {
    this.#options = options
    const { service, suffix } = options
    this.id = suffix === undefined ? `${service}-proxy` : `${service}-proxy-${suffix}`
  }

  get #name(): string {
    return `${this.#options.service}-proxy`
  }

  get #checkId(): string {
    return `${this.id}-ttl`
  }

  start(): void {
    this.#running ??= poll({
      client: this.#options.client,
      turn: () => this.#turn(),
      alarm: this.#alarm,
      onFailure: error => this.#noteFailure(error),
      signal: this.#stop.signal,
    })
  }

  /** Readiness may have changed. */
  wake(): void {
    this.#alarm.ring()
  }

  /**
   * Takes the registration back, and makes none any more. Returns within two seconds or so, whatever the agent does.
   * @throws SidespliceError why it may still be there
   */
  end(): Promise<void> {
    this.#ending ??= this.#end()
    return this.#ending
  }

  async #end(): Promise<void> {
    const deadline = AbortSignal.timeout(endMs)
    this.#stop.abort()
    // A registration that the agent is about to make must not come after its end: what is under way is waited for.
    const patience = setTimeout(() => this.#cut.abort(), endMs / 2)
    await this.#running
    clearTimeout(patience)
    this.#cut.abort()
    if (this.#mayBeRegistered) await this.#deregister(deadline)
  }

  async #deregister(deadline: AbortSignal): Promise<void> {
    const path = `/v1/agent/service/deregister/${encodeURIComponent(this.id)}`
    let failure: unknown
    for (let tries = 0; tries < deregisterTries && !deadline.aborted; tries++) {
      if (tries > 0) await pause(deregisterPauseMs, deadline)
      try {
        const answer = await this.#put(path, { signal: deadline })
        // 404 (later versions): somebody else has been faster.
        if (answer.status === 200 || answer.status === 404) {
          this.#mayBeRegistered = false
          return
        }
        failure = refused(path, answer)
      } catch (error) {
        failure ??= error
      }
    }
    throw failure
  }

  async #turn(): Promise<number> {
    const { heartbeatMs = defaultHeartbeatMs, reconcileMs = defaultReconcileMs } = this.#options
    if (performance.now() - this.#reconciledAt >= reconcileMs) await this.#reconcile()
    const ready = this.#options.missing().length === 0
    // What was found may be another process's, which is ready: a predecessor's check ends by itself.
    if (!ready && !this.#mayBeRegistered) return unreadyHeartbeatMs
    this.#mayBeRegistered = true
    if (!(await this.#heartbeat())) {
      await this.#register('no check of this proxy')
      if (!(await this.#heartbeat()))
        throw new SidespliceError(`the agent does not keep the check ${this.#checkId}`, {
          source: 'consul',
          code: 'agent_refused',
        })
    }
    this.#toldFailure = undefined
    return this.#options.missing().length === 0 ? heartbeatMs : Math.min(heartbeatMs, unreadyHeartbeatMs)
  }

  /** The agent's own record, which an agent that starts anew has lost; the catalog would be late. */
  async #reconcile(): Promise<void> {
    const path = `/v1/agent/service/${encodeURIComponent(this.id)}`
    const answer = await this.#send({ method: 'GET', path })
    if (answer.status === 403) throw this.#denied(answer)
    if (answer.status !== 200 && answer.status !== 404) throw refused(path, answer)
    const difference = answer.status === 404 ? 'no registration' : this.#difference(answer)
    if (difference !== undefined) await this.#register(difference)
    this.#reconciledAt = performance.now()
  }

  /** @throws SidespliceError where the ID is that of a service which is no proxy: that is somebody else's */
  #difference(answer: Answer): string | undefined {
    const { address, port, destinationName } = parseProxyService(answer)
    const { service, listen } = this.#options
    const same =
      address === this.#address && port === listen.port && destinationName === this.#options.service
    if (same) return undefined
    return destinationName === service ? `${address}:${port}` : `a proxy of ${destinationName}`
  }

  async #register(because: string): Promise<void> {
    const path = '/v1/agent/service/register'
    const { service, listen, onRegistered } = this.#options
    const body = {
      Kind: 'connect-proxy',
      ID: this.id,
      Name: this.#name,
      ...(this.#address !== '' && { Address: this.#address }),
      Port: listen.port,
      Proxy: { DestinationServiceName: service },
      // Consul's proxy begins with a check that passes; here nobody is sent to a proxy that does not listen yet.
      Check: {
        CheckID: this.#checkId,
        Name: 'proxy heartbeat',
        Notes: 'The proxy passes this check while it is ready.',
        TTL: ttl,
        Status: 'critical',
      },
    }
    this.#mayBeRegistered = true
    const answer = await this.#put(path, { body })
    if (answer.status !== 200) {
      this.#mayBeRegistered = false
      throw answer.status === 403 ? this.#denied(answer) : refused(path, answer)
    }
    onRegistered(because)
  }

  /** What is true now. False where the agent does not know the check. */
  async #heartbeat(): Promise<boolean> {
    const missing = this.#options.missing()
    const verb = missing.length === 0 ? 'pass' : 'fail'
    const note = missing.length === 0 ? 'ready' : `missing: ${missing.join(', ')}`
    const path = `/v1/agent/check/${verb}/${encodeURIComponent(this.#checkId)}`
    const answer = await this.#put(path, { query: { note } })
    if (answer.status === 200) return true
    // 500 is how versions before 1.11 say that they do not know it.
    if (answer.status === 404 || answer.status === 500) return false
    throw answer.status === 403 ? this.#denied(answer) : refused(path, answer)
  }

  /** None where the proxy listens on every address: the agent refuses those, and takes its own instead. */
  get #address(): string {
    const { host } = this.#options.listen
    return host === '0.0.0.0' || /^[0:]+$/.test(host) ? '' : host
  }

  #put(
    path: string,
    options: {
      readonly body?: object
      readonly query?: Readonly<Record<string, string>>
      readonly signal?: AbortSignal
    } = {},
  ): Promise<Answer> {
    return this.#send({ method: 'PUT', path, ...options })
  }

  #send(request: {
    readonly method: 'GET' | 'PUT'
    readonly path: string
    readonly body?: object
    readonly query?: Readonly<Record<string, string>>
    readonly signal?: AbortSignal
  }): Promise<Answer> {
    const { signal = this.#cut.signal } = request
    // Between two steps of a turn the end may have come; what takes back comes with a signal of its own.
    if (request.signal === undefined) this.#stop.signal.throwIfAborted()
    return this.#options.client.send({ lane: 'short', timeoutMs: answerMs, ...request, signal })
  }

  #denied(answer: Answer): SidespliceError {
    const needed = `the token needs service:write on ${this.#name} and on ${this.#options.service}`
    return new SidespliceError(`${refusalOf(answer)}; ${needed}`, { source: 'consul', code: 'agent_denied' })
  }

  #noteFailure(error: SidespliceError): void {
    if (error.code === this.#toldFailure) return
    this.#toldFailure = error.code
    this.#options.onFailure(error)
  }
}
