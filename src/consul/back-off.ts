// How long to wait before asking an agent again that did not answer well.

const firstMs = 500
const longestMs = 30_000

export class BackOff {
  readonly #random: () => number
  #failures = 0

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  reset(): void {
    this.#failures = 0
  }

  /** Doubling to half a minute, with half of it at random: agents come back to many proxies at once. */
  next(): number {
    const ms = Math.min(firstMs * 2 ** this.#failures, longestMs)
    this.#failures = Math.min(this.#failures + 1, 16)
    return ms / 2 + this.#random() * (ms / 2)
  }
}

// A token bucket against answers that come at once, again and again (a leaf that changes every second: consul#10071).
const bucketSize = 2

/** The time by which a pace is kept. Milliseconds. */
export interface Clock {
  now(): number
  /** Resolves after `ms`, or at once when the signal comes. */
  pause(ms: number, signal: AbortSignal): Promise<void>
}

/** How often something may be asked for: twice at once, then once each `refillMs`. */
export class Pace {
  readonly #refillMs: number
  readonly #clock: Clock
  #tokens = bucketSize
  #at: number

  constructor(refillMs = 1_000, clock = realClock) {
    this.#refillMs = refillMs
    this.#clock = clock
    this.#at = clock.now()
  }

  /** Resolves when it is our turn, or when the signal comes. */
  async turn(signal: AbortSignal): Promise<void> {
    const waitMs = this.take()
    if (waitMs > 0) await this.#clock.pause(waitMs, signal)
  }

  /** Takes one turn; how long to wait before it. Milliseconds. */
  take(): number {
    const now = this.#clock.now()
    this.#tokens = Math.min(bucketSize, this.#tokens + (now - this.#at) / this.#refillMs) - 1
    this.#at = now
    return this.#tokens >= 0 ? 0 : -this.#tokens * this.#refillMs
  }
}

/** A wait that somebody may end early. Rung while nobody waits, it ends the next wait at once: no news is lost between two. */
export class Alarm {
  #rung = false
  #ring: () => void = () => {}

  ring(): void {
    this.#rung = true
    this.#ring()
  }

  /** Resolves after `ms`, when it rings or has rung since the last wait, or when the signal comes. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#rung) {
      const rung = new AbortController()
      this.#ring = () => rung.abort()
      await pause(ms, AbortSignal.any([signal, rung.signal]))
    }
    this.#rung = false
  }
}

/** Resolves after `ms`, or at once when the signal comes. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) return resolve()
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}

const realClock: Clock = { now: () => performance.now(), pause }
