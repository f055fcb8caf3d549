// Which live sessions a new snapshot no longer allows, and which of them only the agent can tell about.
import { type AgentQuestion, authorize } from '../authorization/authorization.ts'
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.ts'
import type { Inbound, Snapshot } from '../snapshot/snapshot.ts'
import type { LiveSession, SessionId } from './policy.ts'

/**
 * Sessions of the public listener whose peer is not allowed any more. Those of a listener that was removed live on, and so do
 * those whose peer is not known yet: they are asked about by their own generation. A change of identity ends none, not even that
 * of the trust domain: who was admitted is looked at by authorization alone.
 */
export function deniedSessions(
  { inbound }: Snapshot,
  sessions: readonly LiveSession[],
): readonly SessionId[] {
  if (inbound === undefined || !inbound.endDeniedSessions) return []
  return known(inbound, sessions)
    .filter(({ peer }) => authorize(inbound.authorization, peer).allowed === false)
    .map(({ id }) => id)
}

/**
 * The same sessions where the agent decides: those that go on unless it denies, by what it is asked. One of a former trust domain
 * is asked about as the service of ours that it names, since a rule for that is one for both.
 */
export function sessionsToAskAbout(
  { inbound, identity, service }: Snapshot,
  sessions: readonly LiveSession[],
): readonly { readonly question: AgentQuestion; readonly sessions: readonly SessionId[] }[] {
  if (inbound === undefined || !inbound.endDeniedSessions) return []
  const { trustDomain } = identity.leaf.id
  const byPeer = new Map<string, SessionId[]>()
  for (const { id, peer } of known(inbound, sessions)) {
    if (authorize(inbound.authorization, peer).allowed !== undefined) continue
    const uri = `spiffe://${trustDomain}/${peer.segments.join('/')}`
    const ids = byPeer.get(uri)
    if (ids === undefined) byPeer.set(uri, [id])
    else ids.push(id)
  }
  return [...byPeer].map(([uri, ids]) => ({ question: { service, uri }, sessions: ids }))
}

function known(
  { key }: Inbound,
  sessions: readonly LiveSession[],
): readonly { readonly id: SessionId; readonly peer: SpiffeId }[] {
  return sessions.flatMap(({ id, listener, peer }) =>
    listener === key && peer !== undefined ? [{ id, peer: parseSpiffeId(peer) }] : [],
  )
}
