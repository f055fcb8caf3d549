// Which live sessions a new snapshot no longer allows.
import { authorize } from '../authorization/authorization.ts'
import { parseSpiffeId } from '../identity/spiffe-id.ts'
import type { Snapshot } from '../snapshot/snapshot.ts'
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
  const denied = (session: LiveSession) =>
    session.listener === inbound.key &&
    session.peer !== undefined &&
    !authorize(inbound.authorization, parseSpiffeId(session.peer)).allowed
  return sessions.filter(denied).map(session => session.id)
}
