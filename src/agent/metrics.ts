// What the agent tells Prometheus: the process, and counts of what it holds, read at each scrape. No name of a service is in it.
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { statuses } from './rows.ts'
import type { World } from './world.ts'

export interface AgentMetrics {
  readonly contentType: string
  text(): Promise<string>
}

type Sources = Pick<World, 'state' | 'version'>

export function agentMetrics({ state, version }: Sources): AgentMetrics {
  const register = new Registry()
  const registers = [register]
  collectDefaultMetrics({ register })
  new Gauge({
    name: 'sidesplice_agent_info',
    help: '1, with the version as label',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1)
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name: `sidesplice_agent_${name}`,
      help,
      registers,
      collect() {
        this.set(value())
      },
    })
  gauge('services', 'Services that are registered, proxies among them', () => state.all('service').length)
  gauge('intentions', 'Intentions', () => state.all('intention').length)
  gauge('tokens', 'Tokens, without those of the configuration', () => state.all('token').length)
  gauge('queries', 'Prepared queries', () => state.all('query').length)
  gauge('blocked_calls', 'Calls that wait for a change', () => state.waiting)
  gauge('index', 'The index of the last write', () => state.index)
  new Gauge({
    name: 'sidesplice_agent_checks',
    help: 'Checks by their status',
    labelNames: ['status'],
    registers,
    collect() {
      for (const status of statuses) this.set({ status }, 0)
      for (const { Status: status } of state.all('check')) this.inc({ status })
    },
  })
  return {
    contentType: register.contentType,
    // prom-client writes Nan, as for a lag of the event loop without a sample yet; the format knows NaN.
    text: async () => (await register.metrics()).replaceAll(/ Nan$/gm, ' NaN'),
  }
}
