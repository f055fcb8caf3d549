// Authorization by a list of SPIFFE ID patterns: who is on it may connect, nobody else.
import { formatPattern, matchesPattern, type SpiffeId, type SpiffePattern } from '../identity/spiffe-id.ts'

/** An empty list admits nobody. */
export type AllowList = readonly SpiffePattern[]

interface Index {
  /** The URIs of those that match one ID alone. */
  readonly exact: ReadonlySet<string>
  readonly rest: readonly SpiffePattern[]
}

// A mesh names a thousand peers one by one, and each connection asks: a list is looked through once.
const indexes = new WeakMap<AllowList, Index>()

export function isAllowed(allow: AllowList, peer: SpiffeId): boolean {
  const { exact, rest } = indexOf(allow)
  return exact.has(peer.uri) || rest.some(pattern => matchesPattern(pattern, peer))
}

function indexOf(allow: AllowList): Index {
  const known = indexes.get(allow)
  if (known !== undefined) return known
  const isExact = ({ segments }: SpiffePattern) => !segments.includes('*')
  const index = {
    exact: new Set(allow.filter(isExact).map(formatPattern)),
    rest: allow.filter(pattern => !isExact(pattern)),
  }
  indexes.set(allow, index)
  return index
}
