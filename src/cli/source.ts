// Where a sidecar's desired state comes from: a file, or a Consul agent.
import type { AskAgent } from '../authorization/authorization.ts'
import type { ProcessSettings } from '../config/config.ts'
import type { SessionRecord } from '../data-plane/interface.ts'
import type { DesiredState } from '../snapshot/snapshot.ts'

export interface StateSource {
  /** Absent where there is no agent that could be asked about a peer. */
  readonly askAgent?: AskAgent
  /** As they are now. */
  settings(): ProcessSettings
  /**
   * Gives every state from now on, the first one at once where it is known.
   * @param onReload a change was taken up, or refused
   * @param missing what stands between the sidecar and readiness, as it is then
   */
  start(
    onState: (state: DesiredState) => Promise<void>,
    onReload: (succeeded: boolean) => void,
    missing: () => readonly string[],
  ): Promise<void>
  /** A session has ended: one that could not reach its endpoint may mean that there are others. */
  noteSession(record: SessionRecord): void
  /** What of the state is not known yet. */
  missing(): readonly string[]
  /** What is asked for and not done, for /state. */
  notices(): readonly string[]
  /** Milliseconds since each watch of an agent had its last good answer. */
  watchAges(): ReadonlyMap<string, number>
  /** The sidecar is about to stop: whoever sends it new connections should know. */
  stopping(): Promise<void>
  close(): Promise<void>
}
