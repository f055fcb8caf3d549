// The questions that are put to policy, and its answers: plain data, the same whoever asks.
import type { Address } from '../address.ts'
import type { AgentQuestion } from '../authorization/authorization.ts'

export type SessionId = number
/** Increases with every change of desired state. */
export type Generation = number

export interface AdmitQuestion {
  readonly session: SessionId
  readonly listener: string
  readonly uriSans: readonly string[]
  /** Upper-case hexadecimal. */
  readonly serial: string
}

export type AdmitAnswer = Admission | Refusal
export interface Admission {
  readonly session: SessionId
  readonly generation: Generation
  readonly admitted: true
  /** The peer's SPIFFE ID, for records. */
  readonly peer: string
  readonly target: Address
  readonly connectTimeoutMs: number
}

/** A peer that nothing here speaks against: the agent has to be asked, by the state of this generation. */
export interface Undecided {
  readonly admitted: undefined
  readonly question: AgentQuestion
  /** The answer, where the agent allows. */
  readonly admission: Admission
}

export interface RouteQuestion {
  readonly session: SessionId
  readonly listener: string
}

export type RouteAnswer = Plan | Refusal
export interface Plan {
  readonly session: SessionId
  readonly generation: Generation
  readonly admitted: true
  /** For all attempts together: lookup, TCP and TLS handshake. */
  readonly connectTimeoutMs: number
  /** In the order to try them; never empty. */
  readonly attempts: readonly PlannedAttempt[]
}

export interface PlannedAttempt {
  /** How the endpoint is named in records and counters. */
  readonly endpoint: string
  readonly address: Address
  /** SPIFFE IDs, canonical; the peer's must equal one of them to the letter. */
  readonly expect: readonly string[]
  readonly serverName?: string
  /** The last attempt has all that is left of the plan's time instead. */
  readonly timeLimitMs: number
}

export const refusalReasons = [
  'denied',
  'foreign_trust_domain',
  'peer_identity_refused',
  'no_endpoints',
  'not_routed',
  'policy_timeout',
] as const
export type RefusalReason = (typeof refusalReasons)[number]

export interface Refusal {
  readonly session: SessionId
  readonly generation: Generation
  readonly admitted: false
  readonly reason: RefusalReason
  readonly detail?: string
  /** The peer's SPIFFE ID where it is known, for records. */
  readonly peer?: string
}

/** What policy needs to know of a live session to say whether it may go on. */
export interface LiveSession {
  readonly id: SessionId
  readonly listener: string
  /** The other sidecar's SPIFFE ID, once it is known to be allowed (inbound) or expected (outbound). */
  readonly peer?: string
}
