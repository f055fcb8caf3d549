// Asking an agent for what does not announce its changes: at a pace, again after a while or when somebody knows of news.
import { SidespliceError } from '../errors.ts'
import { type Alarm, BackOff, type Clock, Pace } from './back-off.ts'
import type { ConsulClient } from './client.ts'

/** How often what does not block is asked for, where nothing says that it has changed. */
export const pollMs = 10_000
/** How long a call that does not block may take. */
export const shortAnswerMs = 10_000

export interface PollOptions {
  readonly client: Pick<ConsulClient, 'pauseWhileAway'>
  /** Asks, and returns how long to wait before the next turn, unless the alarm rings. */
  readonly turn: () => Promise<number>
  readonly alarm: Alarm
  /** At least this long between two turns, once a burst of two is used up. */
  readonly paceMs?: number
  /** By which that is counted. */
  readonly clock?: Clock | undefined
  readonly onFailure: (error: SidespliceError) => void
  readonly signal: AbortSignal
}

/** Runs until the signal comes. A turn that fails is tried again, backing off. */
export async function poll({
  client,
  turn,
  alarm,
  paceMs,
  clock,
  onFailure,
  signal,
}: PollOptions): Promise<void> {
  const backOff = new BackOff()
  const pace = new Pace(paceMs, clock)
  while (!signal.aborted) {
    await pace.turn(signal)
    if (signal.aborted) return
    try {
      const waitMs = await turn()
      backOff.reset()
      await alarm.wait(waitMs, signal)
    } catch (error) {
      if (signal.aborted) return
      onFailure(asFailure(error))
      await client.pauseWhileAway(backOff.next(), signal)
    }
  }
}

/** Whatever an answer brought about, as the failure of its agent. */
export function asFailure(error: unknown): SidespliceError {
  if (error instanceof SidespliceError) return error
  return new SidespliceError(error instanceof Error ? error.message : String(error), {
    source: 'consul',
    code: 'agent_answer',
    cause: error,
  })
}
