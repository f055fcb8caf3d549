// Which live sessions a new snapshot no longer allows.
import { parseSpiffeId } from '../identity/spiffe-id.ts'
import type { Snapshot } from '../snapshot/snapshot.ts'
import { denialOf } from './admit.ts'
import type { LiveSession, SessionId } from './policy.ts'

/**
 * Sessions of the public listener whose peer would be refused now. Those of a listener that was removed live on, and so do
 * those whose peer is not known yet: they are asked about by their own generation.
 */
export function deniedSessions(snapshot: Snapshot, sessions: readonly LiveSession[]): readonly SessionId[] {
  const { inbound } = snapshot
  if (inbound === undefined) return []
  const denied = (session: LiveSession) =>
    session.listener === inbound.key &&
    session.peer !== undefined &&
    denialOf(snapshot, inbound, parseSpiffeId(session.peer)) !== undefined
  return sessions.filter(denied).map(session => session.id)
}
