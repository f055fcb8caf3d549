// The access line of a session that has ended.

import type { AccessLog } from '../config/config.ts'
import type { SessionRecord } from '../data-plane/interface.ts'
import { defined } from '../defined.ts'
import type { Log } from './log.ts'

/** Logs a session's end, unless it is one that `level` leaves out. A connection without a byte is counted elsewhere, never logged. */
export function logSession(log: Log, level: AccessLog, record: SessionRecord): void {
  const clean = record.reason === 'closed'
  if (level === 'off' || record.reason === 'closed_before_first_byte' || (level === 'errors' && clean)) return
  const fields = accessFields(record)
  if (clean) log.info(fields, 'session ended')
  else log.warn(fields, 'session ended')
}

/** snake_case, milliseconds rounded to microseconds; absent fields are left out. */
export function accessFields(record: SessionRecord): Record<string, unknown> {
  const { attempts } = record
  return defined({
    session: record.id,
    direction: record.direction,
    service: record.name,
    peer: record.peer,
    downstream: record.downstream,
    endpoint: record.endpoint,
    attempts:
      attempts.length > 1 || attempts.some(({ outcome }) => outcome !== 'connected')
        ? attempts.map(describe)
        : undefined,
    bytes_to_upstream: record.bytesToUpstream,
    bytes_to_downstream: record.bytesToDownstream,
    policy_ms: rounded(record.policyMs),
    connect_ms: rounded(record.connectMs),
    handshake_ms: rounded(record.handshakeMs),
    duration_ms: rounded(record.durationMs),
    tls: record.tlsVersion,
    resumed: record.resumed,
    relay: record.relayed ? record.relay : undefined,
    spliced_bytes: record.splicedBytes,
    reason: record.reason,
    detail: record.detail,
  })
}

function describe({ endpoint, outcome, detail }: SessionRecord['attempts'][number]): string {
  return detail === undefined ? `${endpoint} ${outcome}` : `${endpoint} ${outcome} (${detail})`
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 1000) / 1000
}
