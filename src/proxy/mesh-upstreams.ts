// The upstreams of a mesh's sidecar: for each, who follows its endpoints, what is known of them, and what its chain asks for.
import type { Notices } from '../config/notices.ts'
import { Alarm } from '../consul/back-off.ts'
import { followChains } from '../consul/chain-follower.ts'
import type { ConsulClient } from '../consul/client.ts'
import { UpstreamFollower } from '../consul/upstream-follower.ts'
import type { Instance, ProxyUpstream } from '../consul/wire.ts'
import { discoveryKey, discoveryKeyOf } from '../snapshot/from-consul.ts'
import type { AgentContact } from './agent-contact.ts'
import type { Log } from './log.ts'

export interface MeshUpstreamsOptions {
  readonly client: ConsulClient
  readonly contact: AgentContact
  readonly notices: Notices
  readonly log: Log
  /** Keeps what runs until it is over. */
  readonly run: (running: Promise<unknown>) => void
  readonly onChange: () => void
}

interface FollowedUpstream {
  readonly upstream: ProxyUpstream
  readonly follower: UpstreamFollower
  readonly stop: AbortController
  instances: readonly Instance[]
  chain: readonly string[]
}

export class MeshUpstreams {
  readonly #options: MeshUpstreamsOptions
  readonly #followed = new Map<string, FollowedUpstream>()
  readonly #stop = new AbortController()
  readonly #chainAlarm = new Alarm()

  constructor(options: MeshUpstreamsOptions) {
    this.#options = options
  }

  start(): void {
    const { client, run } = this.#options
    run(
      followChains({
        client,
        upstreams: () =>
          [...this.#followed.values()].flatMap(({ upstream }) =>
            upstream.type === 'service' ? upstream : [],
          ),
        alarm: this.#chainAlarm,
        onChain: (upstream, asksFor) => this.#takeChain(upstream, asksFor),
        signal: this.#stop.signal,
      }),
    )
  }

  /** These and no others, by difference. */
  follow(wanted: readonly ProxyUpstream[]): void {
    const keys = new Set(wanted.map(discoveryKey))
    for (const [key, { stop, upstream }] of this.#followed) {
      if (keys.has(key)) continue
      stop.abort()
      this.#options.contact.end(watchOf(upstream))
      this.#followed.delete(key)
    }
    const added = wanted.filter(upstream => !this.#followed.has(discoveryKey(upstream)))
    for (const upstream of added) this.#add(upstream)
    if (added.length > 0) this.#chainAlarm.ring()
  }

  instances(upstream: ProxyUpstream): readonly Instance[] {
    return this.#followed.get(discoveryKey(upstream))?.instances ?? []
  }

  /** A dial has failed: what can be asked for again is. */
  wake(listener: string): void {
    this.#followed.get(discoveryKeyOf(listener))?.follower.wake()
  }

  /** What discovery chains ask for and does not happen. */
  notices(): readonly string[] {
    return [...this.#followed.values()].flatMap(({ upstream, chain }) => chainLines(upstream, chain))
  }

  close(): void {
    this.#stop.abort()
    for (const { stop } of this.#followed.values()) stop.abort()
  }

  #add(upstream: ProxyUpstream): void {
    const { client, contact, log, run, onChange } = this.#options
    const stop = new AbortController()
    const watch = watchOf(upstream)
    const key = discoveryKey(upstream)
    contact.begin(watch)
    const followed: FollowedUpstream = {
      upstream,
      stop,
      instances: [],
      chain: [],
      follower: new UpstreamFollower({
        client,
        name: upstream.name,
        type: upstream.type === 'prepared_query' ? 'prepared_query' : 'service',
        namespace: upstream.namespace,
        namespaceNamed: upstream.namespaceNamed,
        namespacesKnown: upstream.namespacesKnown,
        datacenter: upstream.datacenter,
        onInstances: instances => {
          if (JSON.stringify(instances) === JSON.stringify(followed.instances)) return
          followed.instances = instances
          onChange()
        },
        onHidden: () =>
          log.warn(
            { upstream: upstream.name },
            'the agent hides its instances from this token; the known ones stay',
          ),
        onFailure: error => contact.failed(watch, error),
        onContact: () => contact.answered(watch),
        signal: stop.signal,
      }),
    }
    this.#followed.set(key, followed)
    run(followed.follower.run())
  }

  #takeChain(upstream: ProxyUpstream, asksFor: readonly string[]): void {
    const followed = this.#followed.get(discoveryKey(upstream))
    if (followed === undefined) return
    followed.chain = asksFor
    for (const line of chainLines(upstream, asksFor)) this.#options.notices.say(line)
  }
}

function watchOf({ type, name, namespace, datacenter }: ProxyUpstream): string {
  const kind = type === 'prepared_query' ? 'query' : 'upstream'
  const service = namespace === 'default' ? name : `${namespace}/${name}`
  return `${kind} ${service}${datacenter === '' ? '' : `@${datacenter}`}`
}

function chainLines({ name }: ProxyUpstream, asksFor: readonly string[]): readonly string[] {
  return asksFor.map(
    what => `upstream ${name}: its discovery chain asks for ${what}; its own endpoints are used`,
  )
}
