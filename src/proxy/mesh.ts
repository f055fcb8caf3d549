// A sidecar of a real mesh: everything that its agent says, followed, and made into one desired state after the other.
import type { Intentions } from '../authorization/intentions.ts'
import type { RegistrationReader } from '../config/registration.ts'
import { followBlocking } from '../consul/blocking-query.ts'
import type { ConsulClient } from '../consul/client.ts'
import { IdentityFollower } from '../consul/identity-follower.ts'
import { IntentionsFollower } from '../consul/intentions-follower.ts'
import { UpstreamFollower } from '../consul/upstream-follower.ts'
import { type Instance, type ProxyService, type ProxyUpstream, parseProxyService } from '../consul/wire.ts'
import type { SidespliceError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { discoveryKey, discoveryKeyOf, meshState, startable } from '../snapshot/from-consul.ts'
import type { DesiredState } from '../snapshot/snapshot.ts'
import type { Log } from './log.ts'

export interface MeshOptions {
  readonly client: ConsulClient
  /** ID of the registered proxy service. */
  readonly proxyId: string
  readonly reader: RegistrationReader
  readonly log: Log
  readonly onState: (state: DesiredState) => void
}

interface FollowedUpstream {
  readonly follower: UpstreamFollower
  readonly stop: AbortController
  instances: readonly Instance[]
}

export class Mesh {
  readonly #options: MeshOptions
  readonly #stop = new AbortController()
  readonly #upstreams = new Map<string, FollowedUpstream>()
  readonly #running = new Set<Promise<unknown>>()
  #proxy: ProxyService | undefined
  #identity: Identity | undefined
  #intentions: Intentions | undefined
  #service: { readonly name: string; readonly stop: AbortController } | undefined
  #scheduled = false
  #away = false

  constructor(options: MeshOptions) {
    this.#options = options
  }

  start(): void {
    const { client, proxyId } = this.#options
    this.#run(
      followBlocking({
        client,
        lane: 'watch',
        path: `/v1/agent/service/${encodeURIComponent(proxyId)}`,
        cursor: 'hash',
        parse: parseProxyService,
        onValue: proxy => this.#takeProxy(proxy),
        onFailure: error => this.#noteFailure(error, 'registration'),
        onContact: () => this.#noteContact(),
        signal: this.#stop.signal,
      }),
    )
  }

  /** What is not there yet. */
  missing(): readonly string[] {
    return [
      ...(this.#proxy === undefined ? ['registration'] : []),
      ...(this.#identity === undefined ? ['certificates'] : []),
      ...(this.#proxy !== undefined && this.#proxy.localPort !== 0 && this.#intentions === undefined
        ? ['intentions']
        : []),
    ]
  }

  /** A dial has failed: what can be asked for again is. */
  wakeUpstream(listener: string): void {
    this.#upstreams.get(discoveryKeyOf(listener))?.follower.wake()
  }

  async close(): Promise<void> {
    this.#stop.abort()
    this.#service?.stop.abort()
    for (const { stop } of this.#upstreams.values()) stop.abort()
    await Promise.all(this.#running)
  }

  #takeProxy(proxy: ProxyService): void {
    this.#proxy = proxy
    if (this.#service?.name !== proxy.destinationName) this.#followService(proxy.destinationName)
    this.#followUpstreams(startable(proxy, this.#options.reader))
    this.#schedule()
  }

  /** Leaf and intentions are those of the service that the proxy stands for. */
  #followService(name: string): void {
    this.#service?.stop.abort()
    const stop = new AbortController()
    this.#service = { name, stop }
    // Those of another service say nothing of this one: nobody is admitted until its own are known.
    this.#intentions = undefined
    const { client, log } = this.#options
    const common = {
      client,
      service: name,
      onFailure: (error: SidespliceError, what: string) => this.#noteFailure(error, what),
      onContact: () => this.#noteContact(),
      signal: stop.signal,
    }
    const identity = new IdentityFollower({
      ...common,
      onIdentity: taken => {
        if (stop.signal.aborted) return
        this.#identity = taken
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
        this.#schedule()
      },
      onWarning: message => this.#options.reader.warnOnce(message),
    })
    this.#run(identity.run())
    this.#run(intentions.run())
  }

  #followUpstreams(wanted: readonly ProxyUpstream[]): void {
    const keys = new Set(wanted.map(discoveryKey))
    for (const [key, { stop }] of this.#upstreams) {
      if (keys.has(key)) continue
      stop.abort()
      this.#upstreams.delete(key)
    }
    for (const upstream of wanted)
      if (!this.#upstreams.has(discoveryKey(upstream))) this.#followUpstream(upstream)
  }

  #followUpstream(upstream: ProxyUpstream): void {
    const { client, log } = this.#options
    const stop = new AbortController()
    const followed: FollowedUpstream = {
      stop,
      instances: [],
      follower: new UpstreamFollower({
        client,
        name: upstream.name,
        type: upstream.type === 'prepared_query' ? 'prepared_query' : 'service',
        namespace: upstream.namespace,
        datacenter: upstream.datacenter,
        onInstances: instances => {
          if (JSON.stringify(instances) === JSON.stringify(followed.instances)) return
          followed.instances = instances
          this.#schedule()
        },
        onHidden: () =>
          log.warn(
            { upstream: upstream.name },
            'the agent hides its instances from this token; the known ones stay',
          ),
        onFailure: (error, what) => this.#noteFailure(error, what),
        onContact: () => this.#noteContact(),
        signal: stop.signal,
      }),
    }
    this.#upstreams.set(discoveryKey(upstream), followed)
    this.#run(followed.follower.run())
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
        instances: (upstream: ProxyUpstream) => this.#upstreams.get(discoveryKey(upstream))?.instances ?? [],
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

  /** One line when the agent goes, one when it is back; what it refuses is said by itself. */
  #noteFailure(error: SidespliceError, what: string): void {
    const { log } = this.#options
    if (error.code === 'agent_unreachable') {
      if (!this.#away)
        log.warn(
          { error: error.message },
          'the agent does not answer; what is known of the mesh stays in use',
        )
      this.#away = true
      return
    }
    log.warn({ what, error: error.message }, 'the agent refused; what is known stays in use')
  }

  #noteContact(): void {
    if (this.#away) this.#options.log.info({}, 'the agent answers again')
    this.#away = false
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
