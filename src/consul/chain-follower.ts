// Whether the mesh asks for more than the endpoints of a service: its discovery chain, looked at now and then. What a chain asks for
// is not done here; it is told.
import type { Alarm } from './back-off.ts'
import type { Answer, ConsulClient } from './client.ts'
import { type Namespaced, namespaceQuery } from './namespace.ts'
import { poll, shortAnswerMs } from './poll.ts'
import { type Json, list, object, optionalObject, optionalText } from './shape.ts'

export interface ChainOfUpstream extends Namespaced {
  readonly name: string
  readonly datacenter: string
}

export interface ChainFollowerOptions<T extends ChainOfUpstream> {
  readonly client: ConsulClient
  readonly upstreams: () => readonly T[]
  /** Rung where the upstreams have changed. */
  readonly alarm: Alarm
  readonly onChain: (upstream: T, asksFor: readonly string[]) => void
  readonly signal: AbortSignal
}

// Told, not acted on: a minute late is soon enough, and each question is one short call.
const everyMs = 60_000

/** Runs until the signal comes. An agent that does not tell (before 1.6, or to this token) says nothing of a chain. */
export function followChains<T extends ChainOfUpstream>(options: ChainFollowerOptions<T>): Promise<void> {
  const { client, upstreams, alarm, onChain, signal } = options
  return poll({
    client,
    alarm,
    signal,
    // Whether the agent answers is the watches' to say.
    onFailure: () => {},
    turn: async () => {
      for (const upstream of upstreams()) {
        const { name, datacenter } = upstream
        const answer = await client.send({
          lane: 'short',
          path: `/v1/discovery-chain/${encodeURIComponent(name)}`,
          query: {
            ...(datacenter !== '' && { 'compile-dc': datacenter }),
            ...namespaceQuery(client, upstream),
          },
          timeoutMs: shortAnswerMs,
          signal,
        })
        if (answer.status === 200) onChain(upstream, parseChain(answer))
      }
      return everyMs
    },
  })
}

/** GET /v1/discovery-chain/:service; what it asks for beside the service's own endpoints, in Consul's words. */
export function parseChain({ body }: Answer): readonly string[] {
  const chain = object(object(body, 'discovery chain').Chain, 'Chain')
  const nodes = Object.values(optionalObject(chain.Nodes, 'Nodes')).map(node => object(node, 'Nodes'))
  const targets = optionalObject(chain.Targets, 'Targets')
  const asksFor = nodes.flatMap(node => {
    if (node.Type === 'splitter') return ['service-splitter']
    if (node.Type === 'router') return ['service-router']
    const resolver = optionalObject(node.Resolver, 'Resolver')
    const failover = list(optionalObject(resolver.Failover, 'Failover').Targets, 'Failover.Targets')
    const target = optionalObject(targets[optionalText(resolver.Target, 'Target')], 'Targets')
    return [...elsewhere(chain, target), ...(failover.length > 0 ? ['service-resolver Failover'] : [])]
  })
  return [...new Set(asksFor)]
}

function elsewhere(chain: Json, target: Json): readonly string[] {
  const differs = (name: string, of: string) =>
    optionalText(target[name], name) !== '' && target[name] !== chain[of]
  const subset = optionalText(target.ServiceSubset, 'ServiceSubset')
  return [
    ...(differs('Service', 'ServiceName') || differs('Datacenter', 'Datacenter')
      ? ['service-resolver Redirect']
      : []),
    ...(subset === '' ? [] : [`service-resolver subset ${subset}`]),
  ]
}
