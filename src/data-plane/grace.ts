// The grace period of a drain: how long what lives may go on.
import { after } from './deadline.ts'

export interface GraceOptions {
  readonly graceMs: number
  /** Ends it early. */
  readonly signal: AbortSignal | undefined
  /** Is given what ends it when nothing lives any more. */
  readonly onEmpty: (end: () => void) => void
}

/** Resolves when nothing lives any more, after `graceMs`, or when the signal comes. */
export function gracePeriod({ graceMs, signal, onEmpty }: GraceOptions): Promise<void> {
  if (graceMs <= 0 || signal?.aborted === true) return Promise.resolve()
  return new Promise(resolve => {
    const end = () => {
      limit.cancel()
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const limit = after(graceMs, end)
    signal?.addEventListener('abort', end, { once: true })
    onEmpty(end)
  })
}
