// One attempt to reach an endpoint: counted against the endpoint from its beginning to its end, kept in the session's record.

import { defined } from '../../defined.ts'
import type { PlannedAttempt } from '../interface.ts'
import type { AttemptOutcome } from '../reasons.ts'
import type { Session } from './session.ts'
import type { EndpointTally } from './tally.ts'

export class Attempt {
  readonly #session: Session
  readonly #name: string
  readonly #endpoint: EndpointTally
  #times: { readonly connectMs?: number; readonly handshakeMs?: number } = {}
  #dialing = true
  #over = false

  constructor(session: Session, planned: PlannedAttempt) {
    this.#session = session
    this.#name = planned.endpoint
    this.#endpoint = session.tally.endpoint(planned.endpoint)
    this.#endpoint.attempts++
    this.#endpoint.open++
    this.#endpoint.dialing++
    session.endpoint = planned.endpoint
    session.state = 'dialing'
    session.onEnd = () => this.end('cancelled')
  }

  /** Dialing and handshake are over, one way or the other. */
  measured(times: {
    readonly connectMs?: number | undefined
    readonly handshakeMs?: number | undefined
  }): void {
    this.#times = defined({ connectMs: times.connectMs, handshakeMs: times.handshakeMs })
    this.#dialed()
  }

  carried(): void {
    this.#endpoint.carried()
  }

  end(outcome: AttemptOutcome, detail?: string): void {
    if (this.#over) return
    this.#over = true
    this.#dialed()
    this.#endpoint.open--
    this.#endpoint.failed(outcome)
    this.#session.onEnd = undefined
    this.#session.attempts.push({ endpoint: this.#name, outcome, ...this.#times, ...defined({ detail }) })
  }

  #dialed(): void {
    if (this.#dialing) this.#endpoint.dialing--
    this.#dialing = false
  }
}
