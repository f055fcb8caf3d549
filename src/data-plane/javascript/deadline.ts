// Deadlines that a stalled loop does not shorten.

export interface Deadline {
  cancel(): void
}

// Timers run before I/O in a turn of the loop: after a stall, what came in meanwhile would lose to a deadline that passed
// meanwhile. Lateness below this is scheduling, not a stall.
const stallMs = 50
// So that a loop that is late for ever can't put off a deadline for ever.
const maxExtensions = 3

/** Calls `expire` once `ms` have passed in which the loop was running; the time that it stood still is not counted. */
export function after(ms: number, expire: () => void): Deadline {
  let extensions = 0
  let timer = start(ms)
  return { cancel: () => clearTimeout(timer) }

  function start(delayMs: number): NodeJS.Timeout {
    const dueAt = performance.now() + delayMs
    return setTimeout(() => {
      const lateMs = performance.now() - dueAt
      if (lateMs < stallMs || extensions === maxExtensions) return expire()
      extensions++
      timer = start(Math.min(lateMs, ms))
    }, delayMs)
  }
}
