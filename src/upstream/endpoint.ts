// One healthy address of an upstream service.
import type { Address } from '../address.ts'
import type { SpiffeId } from '../identity/spiffe-id.ts'

export interface Endpoint {
  readonly address: Address
  /** Of which the endpoint must prove one. */
  readonly expect: readonly SpiffeId[]
  /** Share of the connections that it gets beside its fellows; at least 1. */
  readonly weight: number
}
