// A sidecar of a real mesh: everything that its agent says, followed, and made into one desired state after the other.
import { isDeepStrictEqual } from 'node:util'
import { describeRule, type Intentions } from '../authorization/intentions.ts'
import type { RegistrationReader, RegistrationSettings } from '../config/registration.ts'
import { followBlocking } from '../consul/blocking-query.ts'
import type { ConsulClient } from '../consul/client.ts'
import { IdentityFollower } from '../consul/identity-follower.ts'
import { IntentionsFollower } from '../consul/intentions-follower.ts'
import { type ProxyService, type ProxyUpstream, parseProxyService } from '../consul/wire.ts'
import type { SidespliceError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { datacenterOf, meshState, startable } from '../snapshot/from-consul.ts'
import { inboundRefusal } from '../snapshot/not-done.ts'
import type { DesiredState } from '../snapshot/snapshot.ts'
import { AgentContact } from './agent-contact.ts'
import type { Log } from './log.ts'
import { MeshUpstreams } from './mesh-upstreams.ts'

/** A registered proxy, followed by its ID, or one that is registered nowhere. */
export type Registration = { readonly proxyId: string } | { readonly fixed: ProxyService }

export interface MeshOptions {
  readonly client: ConsulClient
  readonly registration: Registration
  readonly reader: RegistrationReader
  readonly log: Log
  readonly onState: (state: DesiredState) => void
}

// The watches of a service, as they are named in the log and in metrics.
const serviceWatches = ['roots', 'leaf', 'intentions', 'default intention']

export class Mesh {
  readonly #options: MeshOptions
  readonly #stop = new AbortController()
  readonly #upstreams: MeshUpstreams
  readonly #running = new Set<Promise<unknown>>()
  readonly #contact: AgentContact
  #proxy: ProxyService | undefined
  #identity: Identity | undefined
  #intentions: Intentions | undefined
  #service: { readonly name: string; readonly stop: AbortController } | undefined
  #scheduled = false

  constructor(options: MeshOptions) {
    this.#options = options
    const { client, log, reader } = options
    this.#contact = new AgentContact(log)
    this.#upstreams = new MeshUpstreams({
      client,
      log,
      contact: this.#contact,
      notices: reader.notices,
      run: running => this.#run(running),
      onChange: () => this.#schedule(),
    })
  }

  start(): void {
    const { registration } = this.#options
    if ('fixed' in registration) this.#takeProxy(registration.fixed)
    else this.#followRegistration(registration.proxyId)
    this.#upstreams.start()
  }

  /** What is not there yet. */
  missing(): readonly string[] {
    return [
      ...(this.#proxy === undefined ? ['registration'] : []),
      ...(this.#identity === undefined ? ['certificates'] : []),
      ...this.#missingOfListener(),
    ]
  }

  /** What is asked for and not done. */
  notices(): readonly string[] {
    return [
      ...this.#options.reader.notices.list(),
      ...this.#upstreams.notices(),
      ...layer7Lines(this.#intentions),
    ]
  }

  /** Milliseconds since each watch's last good answer. */
  watchAges(): ReadonlyMap<string, number> {
    return this.#contact.ages()
  }

  /** How long a stop may take, as the registration has it; undefined until it is known. */
  drainSettings(): Pick<RegistrationSettings, 'drainMs' | 'drainDelayMs'> | undefined {
    return this.#proxy && this.#options.reader.read(['proxy.config', this.#proxy.config])
  }

  /** A dial has failed: what can be asked for again is. */
  wakeUpstream(listener: string): void {
    this.#upstreams.wake(listener)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    this.#service?.stop.abort()
    this.#upstreams.close()
    await Promise.all(this.#running)
  }

  #followRegistration(proxyId: string): void {
    const { client } = this.#options
    this.#contact.begin('registration')
    this.#run(
      followBlocking({
        client,
        lane: 'watch',
        path: `/v1/agent/service/${encodeURIComponent(proxyId)}`,
        cursor: 'hash',
        parse: parseProxyService,
        onValue: proxy => this.#takeProxy(proxy),
        onFailure: error => this.#contact.failed('registration', error),
        onContact: () => this.#contact.answered('registration'),
        signal: this.#stop.signal,
      }),
    )
  }

  #missingOfListener(): readonly string[] {
    if (this.#proxy === undefined || this.#proxy.localPort === 0) return []
    const refusal = inboundRefusal(this.#proxy, this.#options.reader)
    if (refusal !== undefined) return [`public listener (${refusal})`]
    // Where the agent decides they are news, and nothing waits for them.
    const { authorization } = this.#options.reader.read(['proxy.config', this.#proxy.config])
    return authorization === 'intentions' && this.#intentions === undefined ? ['intentions'] : []
  }

  #takeProxy(proxy: ProxyService): void {
    // Told once a minute, and with every change of what is not read here (tags, weights): no new generation.
    if (isDeepStrictEqual(proxy, this.#proxy)) return
    this.#proxy = proxy
    this.#options.reader.notices.begin()
    if (this.#service?.name !== proxy.destinationName) this.#followService(proxy.destinationName)
    this.#followUpstreams()
    this.#schedule()
  }

  /** Leaf and intentions are those of the service that the proxy stands for. */
  #followService(name: string): void {
    this.#service?.stop.abort()
    const stop = new AbortController()
    this.#service = { name, stop }
    // Those of another service say nothing of this one: what is in use stays as it was, whole, until both are known.
    this.#intentions = undefined
    this.#identity = undefined
    const { client, log } = this.#options
    const common = {
      client,
      service: name,
      onFailure: (error: SidespliceError, what: string) => this.#contact.failed(what, error),
      onContact: (what: string) => this.#contact.answered(what),
      signal: stop.signal,
    }
    for (const watch of serviceWatches) this.#contact.begin(watch)
    const identity = new IdentityFollower({
      ...common,
      onIdentity: taken => {
        if (stop.signal.aborted) return
        this.#identity = taken
        // It tells our datacenter, on which hangs what can be started.
        this.#followUpstreams()
        this.#schedule()
      },
      onRefused: (error, what) =>
        log.warn({ what, error: error.code }, `the agent's ${what} can not be taken yet: ${error.message}`),
    })
    const intentions = new IntentionsFollower({
      ...common,
      onIntentions: known => {
        if (stop.signal.aborted) return
        this.#intentions = known
        for (const line of layer7Lines(known)) this.#options.reader.notices.say(line)
        this.#schedule()
      },
      onWarning: message => this.#options.reader.notices.say(message),
    })
    this.#run(identity.run())
    this.#run(intentions.run())
  }

  #followUpstreams(): void {
    if (this.#proxy === undefined) return
    const datacenter = this.#identity && datacenterOf(this.#identity)
    const wanted = startable(this.#proxy, { reader: this.#options.reader, datacenter })
    this.#upstreams.follow(wanted)
  }

  /** What changes together is applied together: a turn of the loop gathers it. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (this.#proxy === undefined || this.#identity === undefined || this.#stop.signal.aborted) return
      const facts = {
        proxy: this.#proxy,
        identity: this.#identity,
        intentions: this.#intentions,
        instances: (upstream: ProxyUpstream) => this.#upstreams.instances(upstream),
      }
      try {
        this.#options.onState(meshState(facts, this.#options.reader))
      } catch (error) {
        // What the agent says is from outside: it may be refused, never end the process.
        this.#options.log.error(
          { error: String(error) },
          'what the agent says can not be used; what is known stays in use',
        )
      }
    })
  }

  #run(running: Promise<unknown>): void {
    const caught = running
      .catch((error: unknown) =>
        this.#options.log.error({ error: String(error) }, 'a watch has ended by a defect'),
      )
      .finally(() => this.#running.delete(caught))
    this.#running.add(caught)
  }
}

function layer7Lines(intentions: Intentions | undefined): readonly string[] {
  return (intentions?.rules ?? []).filter(rule => rule.layer7).map(rule => `intention ${describeRule(rule)}`)
}
