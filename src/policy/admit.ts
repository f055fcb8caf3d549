// Whether a peer may reach the local app: a pure function of the snapshot and what the peer proved. Where the agent decides, it
// is asked only about a peer that passed everything here.
import { authorize } from '../authorization/authorization.ts'
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.ts'
import type { Snapshot } from '../snapshot/snapshot.ts'
import type { Admission, AdmitAnswer, AdmitQuestion, Undecided } from './policy.ts'

export function admit(snapshot: Snapshot, question: AdmitQuestion): AdmitAnswer | Undecided {
  const { session } = question
  const { generation, inbound } = snapshot
  const refuse = { session, generation, admitted: false } as const
  if (inbound === undefined || inbound.key !== question.listener) return { ...refuse, reason: 'not_routed' }

  const peer = soleSpiffeId(question.uriSans)
  if (typeof peer === 'string') return { ...refuse, reason: 'peer_identity_refused', detail: peer }
  const { trustDomain } = snapshot.identity.leaf.id
  if (peer.trustDomain !== trustDomain) {
    const detail = `got ${peer.trustDomain}, ours is ${trustDomain}`
    return { ...refuse, reason: 'foreign_trust_domain', detail, peer: peer.uri }
  }
  const verdict = authorize(inbound.authorization, peer)
  if (verdict.allowed === false)
    return { ...refuse, reason: 'denied', detail: verdict.because, peer: peer.uri }
  const admission: Admission = {
    session,
    generation,
    admitted: true,
    peer: peer.uri,
    target: inbound.localApp,
    connectTimeoutMs: inbound.localConnectTimeoutMs,
  }
  if (verdict.allowed) return admission
  const { service } = snapshot
  return {
    admitted: undefined,
    question: { service, uri: peer.uri, serial: question.serial },
    admission,
  }
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
