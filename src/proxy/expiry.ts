// Watching our own leaf's end: said in time, and when it has come.
import type { LeafCertificate } from '../identity/identity.ts'
import type { Log } from './log.ts'

// Consul renews at 60 to 90 % of a leaf's life: at 90 % nobody has.
const warnAtLifetime = 0.9
// Clocks are set and machines sleep: never trust a timer for longer. Below the longest that setTimeout takes (24.8 days).
const longestWaitMs = 60_000

export class ExpiryWatch {
  readonly #log: Log
  #timer: NodeJS.Timeout | undefined

  constructor(log: Log) {
    this.#log = log
  }

  /** From now on this leaf is watched, and no other. */
  watch(leaf: LeafCertificate): void {
    this.close()
    const { notBeforeAt, notAfterAt, id } = leaf
    const fields = { id: id.uri, not_after: new Date(notAfterAt).toISOString() }
    const warnAt = notBeforeAt + (notAfterAt - notBeforeAt) * warnAtLifetime
    this.#at(warnAt, () => {
      if (Date.now() < notAfterAt) {
        this.#log.warn(fields, 'our certificate expires soon and has not been renewed')
      }
      this.#at(notAfterAt, () => {
        this.#log.error(fields, 'our certificate has expired: peers refuse new connections')
      })
    })
  }

  close(): void {
    clearTimeout(this.#timer)
  }

  #at(time: number, then: () => void): void {
    const leftMs = time - Date.now()
    if (leftMs <= 0) return then()
    this.#timer = setTimeout(() => this.#at(time, then), Math.min(leftMs, longestWaitMs))
    this.#timer.unref()
  }
}
