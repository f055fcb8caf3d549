// /v1/agent/metrics, in Prometheus' format alone.
import { Refusal } from '../refusal.ts'
import { type Call, type Reply, require, textOf } from './call.ts'
import type { Route } from './route.ts'

export const metricsRoutes: readonly Route[] = [
  { path: '/v1/agent/metrics', methods: { GET: { handler: metrics } } },
]

async function metrics({ world, query, rights }: Call): Promise<Reply> {
  require(rights().readsAgent)
  const format = textOf(query, 'format')
  if (format !== 'prometheus')
    throw new Refusal(400, `format: got ${JSON.stringify(format)}, expected prometheus`)
  // As Consul says it.
  if (world.metrics === undefined)
    throw new Refusal(415, 'Prometheus is not enabled since its retention time is not positive')
  return { text: await world.metrics.text(), type: world.metrics.contentType }
}
