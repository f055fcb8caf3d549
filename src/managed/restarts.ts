// When a proxy that ended is started again: at once a few times, then later and later, and anew after a while of health.

// Consul's numbers; there a wait, once it came, never let the count begin again.
const atOnce = 3
const firstWaitMs = 2_000
const longestWaitMs = 60_000
const healthyMs = 10_000

export class Restarts {
  #starts = 0

  /** How long to wait before the next start. */
  next(): number {
    this.#starts++
    if (this.#starts <= atOnce) return 0
    return Math.min(firstWaitMs * 2 ** (this.#starts - atOnce - 1), longestWaitMs)
  }

  /** It ran for this long. */
  ran(ms: number): void {
    if (ms >= healthyMs) this.#starts = 0
  }
}
