// The complete desired state of one sidecar at one time: immutable, numbered, all that policy reads.
import type { Address } from '../address.ts'
import type { Authorization } from '../authorization/authorization.ts'
import type { Identity } from '../identity/identity.ts'
import type { Endpoint } from '../upstream/endpoint.ts'

export interface Snapshot {
  /** Increases with every change. */
  readonly generation: number
  /** The service that the sidecar stands beside. */
  readonly service: string
  readonly identity: Identity
  readonly inbound?: Inbound
  readonly upstreams: readonly Upstream[]
}

/** What every session of a listener is held to; milliseconds, 0 for no idle timeout. */
export interface SessionTimeouts {
  readonly halfCloseTimeoutMs: number
  readonly idleTimeoutMs: number
}

export interface Inbound extends SessionTimeouts {
  readonly key: string
  readonly bind: Address
  readonly localApp: Address
  readonly authorization: Authorization
  /** Whether a change that denies a peer ends its live sessions. */
  readonly endDeniedSessions: boolean
  readonly handshakeTimeoutMs: number
  readonly localConnectTimeoutMs: number
}

export interface Upstream extends SessionTimeouts {
  readonly key: string
  readonly name: string
  readonly bind: Address
  /** Of a unix socket, where it is not the usual one. */
  readonly socketMode?: number
  readonly endpoints: readonly Endpoint[]
  readonly connectTimeoutMs: number
}

/** A snapshot before it has its number. */
export type DesiredState = Omit<Snapshot, 'generation'>
