// A clock for what keeps a pace.
import type { Clock } from '../../src/consul/back-off.ts'

/** Time passes while somebody waits for it, and not otherwise: what a machine takes for its work is none of the pace's. */
export class WaitingClock implements Clock {
  #now = 0

  now(): number {
    return this.#now
  }

  async pause(ms: number): Promise<void> {
    this.#now += ms
  }
}
