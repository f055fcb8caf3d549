// The built-in proxy's metrics under its own names, dots as underscores, for dashboards that are there already.
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Counters, ListenerCounters } from '../data-plane/interface.ts'

export interface ConsulMetricsSources {
  readonly counters: () => Counters
  /** Our own service. */
  readonly service: () => string
}

type Value = (listener: ListenerCounters) => number

/**
 * Consul, connect/proxy/conn.go: `tx` is what is written back to the side that opened the connection, `rx` what is written to the side that
 * was dialed, for both directions.
 */
export function addConsulMetrics(register: Registry, sources: ConsulMetricsSources): void {
  const values = [
    ['conns', 'Connections that are open', Gauge, ({ open }) => open],
    ['rx_bytes', 'Bytes written to the dialed side', Counter, listener => listener.bytesToUpstream],
    ['tx_bytes', 'Bytes written to the accepted side', Counter, listener => listener.bytesToDownstream],
  ] as const satisfies readonly (readonly [string, string, unknown, Value])[]
  for (const direction of ['inbound', 'upstream'] as const) {
    for (const [name, help, Metric, value] of values) {
      new Metric({
        name: `${direction}_${name}`,
        help: `${help} (${direction}, as the built-in proxy names it)`,
        labelNames: ['src', 'dst_type', 'dst'],
        registers: [register],
        collect() {
          this.reset()
          for (const [key, listener] of sources.counters().listeners) {
            if ((listener.direction === 'inbound') !== (direction === 'inbound')) continue
            this.inc(labelsOf(key, listener, sources.service()), value(listener))
          }
        },
      })
    }
  }
}

function labelsOf(
  key: string,
  { direction, name }: ListenerCounters,
  service: string,
): Record<string, string> {
  if (direction === 'inbound') return { dst: service }
  const type = key.startsWith('upstream:prepared_query:') ? 'prepared_query' : 'service'
  return { src: service, dst_type: type, dst: name }
}
