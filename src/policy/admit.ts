// Whether a peer may reach the local app: a pure function of the snapshot and what the peer proved.
import { authorize } from '../authorization/authorization.ts'
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.ts'
import type { Inbound, Snapshot } from '../snapshot/snapshot.ts'
import type { AdmitAnswer, AdmitQuestion } from './policy.ts'

export function admit(snapshot: Snapshot, question: AdmitQuestion): AdmitAnswer {
  const { session } = question
  const { generation, inbound } = snapshot
  const refuse = { session, generation, admitted: false } as const
  if (inbound === undefined || inbound.key !== question.listener) return { ...refuse, reason: 'not_routed' }

  const peer = soleSpiffeId(question.uriSans)
  if (typeof peer === 'string') return { ...refuse, reason: 'peer_identity_refused', detail: peer }
  const denial = denialOf(snapshot, inbound, peer)
  if (denial !== undefined) return { ...refuse, ...denial, peer: peer.uri }
  return {
    session,
    generation,
    admitted: true,
    peer: peer.uri,
    target: inbound.localApp,
    connectTimeoutMs: inbound.localConnectTimeoutMs,
  }
}

/** Why the peer is refused, undefined where it is allowed. */
export function denialOf(
  { identity }: Pick<Snapshot, 'identity'>,
  { authorization }: Pick<Inbound, 'authorization'>,
  peer: SpiffeId,
): { readonly reason: 'foreign_trust_domain' | 'denied'; readonly detail: string } | undefined {
  const own = identity.leaf.id.trustDomain
  if (peer.trustDomain !== own)
    return { reason: 'foreign_trust_domain', detail: `got ${peer.trustDomain}, ours is ${own}` }
  const verdict = authorize(authorization, peer)
  return verdict.allowed ? undefined : { reason: 'denied', detail: verdict.because }
}

/** X.509-SVID section 2: exactly one URI SAN, and it is a SPIFFE ID. */
function soleSpiffeId(uriSans: readonly string[]): SpiffeId | string {
  const [uri] = uriSans
  if (uri === undefined || uriSans.length !== 1) return `got ${uriSans.length} URI SANs, expected one`
  try {
    return parseSpiffeId(uri)
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
