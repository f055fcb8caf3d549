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
  let dueAt = performance.now() + ms
  let over = false
  let timer = setTimeout(look, ms)
  return { leftMs, cancel }

  function look(): void {
    const now = performance.now()
    // A timer counts whole milliseconds, and comes up to one early.
    const moreMs = dueAt > now ? Math.ceil(dueAt - now) : extend(now)
    if (moreMs > 0) timer = setTimeout(look, moreMs)
    else {
      over = true
      expire()
    }
  }

  function extend(now: number): number {
    const extensionMs = extension()
    if (extensionMs > 0) extensions++
    dueAt = now + extensionMs
    return extensionMs
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
