// Why a session or an attempt ended: closed sets, shared by both data planes, the access log, the metrics and the README.
import type { RefusalReason } from '../policy/policy.ts'

/** Each reason with what it means to an operator. The README's table is checked against this one. */
export const endReasons = {
  closed: 'both sides finished; every byte arrived',
  closed_before_first_byte:
    'it was closed before its first byte, as a health check does; counted, not logged',
  downstream_reset: 'the side that opened the connection aborted it (reset or fatal alert)',
  upstream_reset: 'the side that was dialed aborted it (reset or fatal alert)',
  downstream_truncated: 'the TLS stream from the peer that dialed us ended without close_notify (native)',
  upstream_truncated: 'the TLS stream from the peer that we dialed ended without close_notify (native)',
  half_close_timeout: 'one direction had closed and no byte moved for half_close_timeout_ms',
  idle_timeout: 'no byte moved for idle_timeout_ms',
  key_update_unsupported:
    "a KeyUpdate came, or was due, that this kernel's TLS can not do (relay ktls-splice); detail says which",
  handshake_timeout: 'the peer did not finish its TLS handshake within handshake_timeout_ms',
  handshake_failed: 'the TLS handshake with the peer that dialed us failed; detail holds the TLS error',
  peer_certificate_refused:
    'the peer presented no certificate, or one that does not chain to a root, has expired, is a CA or is not for its role',
  peer_identity_refused: 'the peer certificate does not hold exactly one URI SAN that is a SPIFFE ID',
  foreign_trust_domain: 'the peer belongs to another trust domain',
  denied: 'the peer is not allowed',
  no_longer_allowed: 'a change of configuration denied the peer while its session lived',
  no_identity: 'there is no valid certificate of our own yet',
  no_endpoints: 'the upstream has no endpoint to dial',
  not_routed: 'the listener has no upstream any more',
  connect_failed: 'every endpoint that was tried failed; attempts says how',
  connect_timeout: 'no endpoint was reached within connect_timeout_ms',
  denied_by_peer: 'the peer that we dialed refused our certificate or our service',
  peer_app_unreachable: 'the peer that we dialed could not reach its own application',
  local_app_unreachable: 'our own application could not be reached within local_connect_timeout_ms',
  policy_timeout: 'the decision about the connection did not come in time',
  policy_overload: 'too many connections of this listener were waiting for a decision',
  descriptors_exhausted: 'the process has no file descriptors left for another session',
  shutdown: 'it was cut because the proxy stopped',
  internal_error: 'a defect in sidesplice; detail says more, please report it',
} as const satisfies { readonly [reason in RefusalReason]: string } & { readonly [reason: string]: string }
export type EndReason = keyof typeof endReasons

/** How one attempt to reach an endpoint ended. */
export const attemptOutcomes = {
  connected: 'it carried the session',
  connect_failed: 'the TCP connection was refused or failed',
  connect_timeout: 'no answer within the time this attempt had',
  handshake_failed: 'the TLS handshake failed',
  handshake_timeout: 'the TLS handshake took longer than the time this attempt had',
  peer_certificate_refused:
    'its certificate does not chain to a root, has expired, is a CA or is not for a server',
  identity_mismatch: 'its certificate is not of an expected SPIFFE ID',
  closed_before_first_byte: 'it closed or reset the connection before the first byte',
  denied_by_peer: 'it refused our certificate or our service',
  peer_app_unreachable: 'it could not reach its own application',
  superseded: 'the configuration changed meanwhile and no longer names it',
  cancelled: 'the connection was given up before the attempt ended',
} as const
export type AttemptOutcome = keyof typeof attemptOutcomes

/** Outcomes that say nothing of the endpoint's health. */
export const blamelessOutcomes: ReadonlySet<AttemptOutcome> = new Set([
  'connected',
  'denied_by_peer',
  'superseded',
  'cancelled',
])
