// Authorization by a list of SPIFFE ID patterns: who is on it may connect, nobody else.
import { matchesPattern, type SpiffeId, type SpiffePattern } from '../identity/spiffe-id.ts'

/** An empty list admits nobody. */
export type AllowList = readonly SpiffePattern[]

export function isAllowed(allow: AllowList, peer: SpiffeId): boolean {
  return allow.some(pattern => matchesPattern(pattern, peer))
}
