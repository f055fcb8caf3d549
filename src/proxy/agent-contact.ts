// Whether the agent answers: a line when it goes and one when it is back, what it refuses once, and how old what is known is.
import type { SidespliceError } from '../errors.ts'
import type { Log } from './log.ts'

export class AgentContact {
  readonly #log: Log
  readonly #now: () => number
  /** By watch: when it began, or had its last good answer. */
  readonly #freshAt = new Map<string, number>()
  /** By watch: the refusal that was logged last, for as long as nothing good came. */
  readonly #refusals = new Map<string, string>()
  /** Watches that got no answer and have had none since: one alone, while others are answered, is said once. */
  readonly #silent = new Set<string>()
  #away = false

  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log
    this.#now = now
  }

  begin(watch: string): void {
    this.#freshAt.set(watch, this.#now())
  }

  end(watch: string): void {
    this.#freshAt.delete(watch)
    this.#refusals.delete(watch)
    this.#silent.delete(watch)
  }

  answered(watch: string): void {
    if (this.#freshAt.has(watch)) this.#freshAt.set(watch, this.#now())
    this.#silent.delete(watch)
    if (this.#away) this.#log.info({}, 'the agent answers again')
    this.#away = false
    if (this.#refusals.delete(watch)) this.#log.info({ what: watch }, 'the agent refuses it no more')
  }

  failed(watch: string, error: SidespliceError): void {
    if (error.code === 'agent_unreachable') {
      if (this.#silent.has(watch)) return
      this.#silent.add(watch)
      if (!this.#away)
        this.#log.warn(
          { error: error.message },
          'the agent does not answer; what is known of the mesh stays in use',
        )
      this.#away = true
      return
    }
    if (this.#refusals.get(watch) === error.message) return
    this.#refusals.set(watch, error.message)
    this.#log.warn({ what: watch, error: error.message }, 'the agent refused; what is known stays in use')
  }

  /** Milliseconds since each watch's last good answer. */
  ages(): ReadonlyMap<string, number> {
    const now = this.#now()
    return new Map([...this.#freshAt].map(([watch, at]) => [watch, now - at]))
  }
}
