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
