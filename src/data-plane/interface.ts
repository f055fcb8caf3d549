// The data plane as the rest of the product knows it: it accepts, shakes hands, dials, relays, half-closes, times out and
// counts, and holds no rule. Two stand behind it; nothing outside this folder knows which one runs.
import type { Address } from '../address.ts'
import type { KeyExchange } from '../config/config.ts'
import type {
  AdmitAnswer,
  AdmitQuestion,
  Generation,
  LiveSession,
  RouteAnswer,
  RouteQuestion,
  SessionId,
} from '../policy/policy.ts'
import type { EndpointCounters } from '../upstream/endpoint-counters.ts'
import type { AttemptOutcome, EndReason } from './reasons.ts'

export type * from '../policy/policy.ts'
export type { EndpointCounters }

export interface DataPlane {
  readonly capabilities: Capabilities

  /**
   * From the next handshake on, this is who we are and whom we trust. Whole or not at all; live sessions are untouched.
   * @throws SidespliceError `identity_refused` where the TLS library does not take it; the former identity stays
   */
  setIdentity(identity: DataPlaneIdentity): void

  /**
   * Makes the listeners equal to this set, each by itself: those with an unchanged bind address keep their socket, a changed
   * one replaces its socket once the new one is bound, absent ones close. Sessions live on. Resolves when each is bound or has
   * failed once; those that failed are tried again (`onListener` of the construction reports it).
   */
  setListeners(listeners: ListenerSet): Promise<readonly ListenerReport[]>

  /** Ends these sessions at once, wherever they are on their way. Returns how many there were. */
  terminate(sessions: readonly SessionId[], reason: TerminationReason): number

  /** Live sessions, from their first byte or handshake on. */
  sessions(): readonly SessionView[]

  counters(): Counters

  /**
   * Stops accepting from peers (what the kernel has queued is still accepted), goes on serving the local app while any session
   * lives, `graceMs` at most, then cuts what is left. Resolves when no session lives; how many were cut.
   */
  drain(options: {
    readonly graceMs: number
    readonly signal?: AbortSignal
  }): Promise<{ readonly cut: number }>

  /** Cuts everything and gives back every resource. Every session's record has been delivered when it resolves. */
  close(): Promise<void>
}

/** What one of the two can do and the other can't; the conformance suite expects just that of each. */
export interface Capabilities {
  /** Tells a TLS stream that was cut without close_notify from one that ended. */
  readonly truncation: boolean
  /** Chooses the alert that a refused peer is sent. */
  readonly alerts: boolean
  /** Lets an abort wait until the data before it has left. */
  readonly sendQueue: boolean
  /** Leaves connections in the kernel's backlog where it can't take them now; otherwise it closes them. */
  readonly backlog: boolean
  /**
   * Sees what a peer that dials us presents beside its leaf. Otherwise these certificates are not counted (the leaf is), and
   * how many may stand below a root is the TLS library's own bound.
   */
  readonly peerChain: boolean
  /** Resumes connections of TLS 1.3, in both directions. */
  readonly resumption: boolean
}

export interface DataPlaneIdentity {
  readonly generation: Generation
  /** Leaf first, then what leads to a root. */
  readonly chainPem: string
  readonly privateKey: Buffer
  /** Every certificate in it is an anchor, self-signed or not. */
  readonly rootsPem: string
}

export interface ListenerSet {
  readonly generation: Generation
  readonly listeners: readonly ListenerSpec[]
}

/** Inbound is the public listener (TLS in, plaintext to the local app), outbound an upstream listener (plaintext in, TLS out). */
export type Direction = 'inbound' | 'outbound'

export interface ListenerSpec {
  /** Unique, and the same for as long as it is the same listener to the operator. */
  readonly key: string
  /** For logs and metrics: the service that is reached through it. */
  readonly name: string
  readonly direction: Direction
  readonly bind: Address
  /** Of a unix socket: who may connect; our own user alone where it is not said. */
  readonly socketMode?: number
  /** Inbound: from accept to the end of the TLS handshake. */
  readonly handshakeTimeoutMs: number
  /** After one direction has closed, while no byte moves. */
  readonly halfCloseTimeoutMs: number
  /** While no byte moves; 0 is never. */
  readonly idleTimeoutMs: number
  /** How long a decision may take, counted from when policy was asked. */
  readonly policyTimeoutMs: number
  /** Connections that may wait for a decision at a time. */
  readonly maxWaiting: number
}

export interface ListenerReport {
  readonly key: string
  readonly name: string
  readonly direction: Direction
  /** Where it listens; with the port that the kernel chose where 0 was asked for. */
  readonly bind: Address
  /** The error code of bind(2) or listen(2); absent where it listens. */
  readonly error?: string
}

export interface DataPlaneOptions {
  readonly policy: Policy
  /** A listener that had failed to bind is up now, or failed again in another way. */
  readonly onListener?: (report: ListenerReport) => void
  /** Threads that move bytes, where they are not JavaScript's; undefined: as many as the process may use CPUs. */
  readonly workers?: number | undefined
  /** What handshakes prefer; X25519 unless said otherwise. */
  readonly keyExchange?: KeyExchange | undefined
  /** Whether connections of TLS 1.3 may resume earlier ones, where the data plane can (the native one); undefined: they may. */
  readonly resumption?: boolean | undefined
  /** Bytes that sessions may own together, where they are not JavaScript's; undefined: by the memory that the process may use. */
  readonly bufferMemory?: number | undefined
  /** Whether the kernel makes the records, of the native data plane; undefined: auto. */
  readonly ktls?: KernelTlsChoice | undefined
  /** Whose AES-GCM makes records, of the native data plane; undefined: auto. */
  readonly aes?: AesChoice | undefined
}

/** Kernel TLS: where it is there, whole and fast; wherever it is there; never. */
export type KernelTlsChoice = 'auto' | 'on' | 'off'

/** The fastest that this processor has, or OpenSSL's in any case. */
export type AesChoice = 'auto' | 'openssl'

/** What moves the bytes of sessions. */
export interface RelayChoice {
  readonly relay: SessionRecord['relay']
  /** For people. */
  readonly why: string
  /** Whose AES-GCM makes the records that neither kernel nor JavaScript makes: our own on vectors of 256 bits, or OpenSSL's. */
  readonly aes?: 'vaes' | 'openssl'
  /** What the operator should know before relying on it. */
  readonly warning?: string
}

/**
 * The decisions, asked for in batches, at most one batch of each kind a turn of the loop. Answers come by the callback, at
 * once or later, in any order and any number of batches; a second answer for a session, or one that comes too late, is
 * ignored. The data plane asks again where the generation moved between an answer and the relay.
 */
export interface Policy {
  /** Inbound, once the peer's chain is verified. */
  admit(questions: readonly AdmitQuestion[], answer: (answers: readonly AdmitAnswer[]) => void): void
  /** Outbound, before dialing. */
  route(questions: readonly RouteQuestion[], answer: (answers: readonly RouteAnswer[]) => void): void
  ended(records: readonly SessionRecord[]): void
}

export type TerminationReason = Extract<EndReason, 'no_longer_allowed' | 'shutdown'>

export type SessionState = 'handshaking' | 'deciding' | 'dialing' | 'relaying'

export interface SessionView extends LiveSession {
  readonly name: string
  readonly direction: Direction
  readonly state: SessionState
  readonly downstream?: string
  readonly endpoint?: string
  readonly startedAt: number
  readonly bytesToUpstream: number
  readonly bytesToDownstream: number
}

export interface AttemptRecord {
  readonly endpoint: string
  readonly outcome: AttemptOutcome
  readonly detail?: string
  /** TCP, with the lookup of a host name. */
  readonly connectMs?: number
  readonly handshakeMs?: number
}

export interface SessionRecord extends Omit<SessionView, 'state'> {
  readonly reason: EndReason
  readonly detail?: string
  /** Whether it ever got to relaying. */
  readonly relayed: boolean
  /** What moved the bytes. */
  readonly relay: 'javascript' | 'records' | 'ktls-splice'
  /** Of the payload, both ways: what the kernel moved from socket to socket. */
  readonly splicedBytes?: number
  readonly attempts: readonly AttemptRecord[]
  readonly tlsVersion?: string
  readonly cipher?: string
  /** The handshake resumed an earlier connection: no certificate went by, the peer's is that of then. Policy was asked all the same. */
  readonly resumed?: true
  /** Waiting for decisions, all together. */
  readonly policyMs?: number
  /** Dialing the local app or the endpoint that carried the session. */
  readonly connectMs?: number
  readonly handshakeMs?: number
  readonly durationMs: number
}

export interface Counters {
  /** Bytes that sessions own while they wait for a socket; absent where they are JavaScript's. */
  readonly bufferBytes?: number
  /** By listener key; one that is gone stays until its last session has ended. */
  readonly listeners: ReadonlyMap<string, ListenerCounters>
}

export interface ListenerCounters {
  readonly name: string
  readonly direction: Direction
  readonly listening: boolean
  readonly accepted: number
  readonly open: number
  readonly waiting: number
  readonly bytesToUpstream: number
  readonly bytesToDownstream: number
  readonly endpoints: ReadonlyMap<string, EndpointCounters>
}
