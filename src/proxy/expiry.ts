// Watching our own leaf's end: said in time, and when it has come.
import type { LeafCertificate } from '../identity/identity.ts'
import type { Log } from './log.ts'

// Consul renews at 60 to 90 % of a leaf's life: at 90 % nobody has.
const warnAtLifetime = 0.9
const lookEveryMs = 30_000

export class ExpiryWatch {
  readonly #log: Log
  #leaf: LeafCertificate | undefined
  #said: 'nothing' | 'soon' | 'expired' = 'nothing'
  readonly #timer: NodeJS.Timeout

  constructor(log: Log) {
    this.#log = log
    this.#timer = setInterval(() => this.#look(), lookEveryMs)
    this.#timer.unref()
  }

  watch(leaf: LeafCertificate): void {
    this.#leaf = leaf
    this.#said = 'nothing'
    this.#look()
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    if (this.#leaf === undefined) return
    const { notBeforeAt, notAfterAt, id } = this.#leaf
    const now = Date.now()
    const fields = { id: id.uri, not_after: new Date(notAfterAt).toISOString() }
    if (now >= notAfterAt) {
      if (this.#said !== 'expired')
        this.#log.error(fields, 'our certificate has expired: peers refuse new connections')
      this.#said = 'expired'
    } else if (now >= notBeforeAt + (notAfterAt - notBeforeAt) * warnAtLifetime) {
      if (this.#said === 'nothing')
        this.#log.warn(fields, 'our certificate expires soon and has not been renewed')
      this.#said = 'soon'
    }
  }
}
