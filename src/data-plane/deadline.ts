// Deadlines that a stalled loop does not shorten.

export interface Deadline {
  /** What is left of it; 0 once it has passed or was cancelled. */
  leftMs(): number
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
  let dueAt = 0
  let over = false
  let timer = start(ms)
  return { leftMs, cancel }

  function start(delayMs: number): NodeJS.Timeout {
    dueAt = performance.now() + delayMs
    return setTimeout(() => {
      const extensionMs = extension()
      if (extensionMs === 0) {
        over = true
        return expire()
      }
      extensions++
      timer = start(extensionMs)
    }, delayMs)
  }

  /** What a deadline that is late by now still gets. */
  function extension(): number {
    const lateMs = performance.now() - dueAt
    return lateMs < stallMs || extensions === maxExtensions ? 0 : Math.min(lateMs, ms)
  }

  function leftMs(): number {
    if (over) return 0
    const ms = dueAt - performance.now()
    return ms > 0 ? ms : extension()
  }

  function cancel(): void {
    over = true
    clearTimeout(timer)
  }
}
