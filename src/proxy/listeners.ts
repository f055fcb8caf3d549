// The listeners that a snapshot asks for, in the data plane's terms, and whether what it reports of them is news.
import { formatAddress } from '../address.ts'
import type { ListenerReport, ListenerSpec } from '../data-plane/interface.ts'
import type { DesiredState } from '../snapshot/snapshot.ts'

// A decision that takes longer is worth less than an error that the app can see; a queue longer than this is an attack or an
// outage, and the connections in it would time out anyway.
export const policyTimeoutMs = 2_000
const maxWaiting = 1_024

export function listenersOf(state: DesiredState): readonly ListenerSpec[] {
  const { inbound, upstreams, service } = state
  const common = { policyTimeoutMs, maxWaiting }
  const specs: ListenerSpec[] = upstreams.map(upstream => ({
    ...common,
    key: upstream.key,
    name: upstream.name,
    direction: 'outbound',
    bind: upstream.bind,
    ...(upstream.socketMode !== undefined && { socketMode: upstream.socketMode }),
    // Outbound handshakes are within the plan's own limits.
    handshakeTimeoutMs: upstream.connectTimeoutMs,
    halfCloseTimeoutMs: upstream.halfCloseTimeoutMs,
    idleTimeoutMs: upstream.idleTimeoutMs,
  }))
  if (inbound !== undefined) {
    specs.push({
      ...common,
      key: inbound.key,
      name: service,
      direction: 'inbound',
      bind: inbound.bind,
      handshakeTimeoutMs: inbound.handshakeTimeoutMs,
      halfCloseTimeoutMs: inbound.halfCloseTimeoutMs,
      idleTimeoutMs: inbound.idleTimeoutMs,
    })
  }
  return specs
}

export function saysTheSame(former: ListenerReport, report: ListenerReport): boolean {
  return (
    former.error === report.error &&
    former.name === report.name &&
    formatAddress(former.bind) === formatAddress(report.bind)
  )
}
