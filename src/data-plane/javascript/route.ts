// The plan of one outbound session: asked for, walked, and asked for again where the configuration moved.

import { after, type Deadline } from '../deadline.ts'
import type { Plan, PlannedAttempt } from '../interface.ts'
import { ask, type Core } from './core.ts'
import { type Session, SessionOver } from './session.ts'

export interface Step {
  readonly planned: PlannedAttempt
  readonly limitMs: number
}

export class Route {
  readonly #session: Session
  readonly #core: Core
  #plan: Plan | undefined
  #next = 0
  /** Of the time for reaching an endpoint, all attempts together; what is left of it stands still while one carries the session. */
  #limit: Deadline | undefined
  #leftMs: number | undefined

  constructor(session: Session, core: Core) {
    this.#session = session
    this.#core = core
  }

  get outOfTime(): boolean {
    return this.#limit !== undefined && this.#limit.leftMs() === 0
  }

  /**
   * The endpoint to try next with the time that it may take, the last one all that is left; undefined where none is left.
   * @throws SessionOver where policy refused, or the session ended
   */
  async next(): Promise<Step | undefined> {
    const plan = this.#plan ?? (await this.#ask())
    this.#limit ??= after(this.#leftMs ?? plan.connectTimeoutMs, () => {})
    const planned = plan.attempts[this.#next++]
    const leftMs = this.#limit.leftMs()
    if (planned === undefined || leftMs <= 0) return undefined
    return {
      planned,
      limitMs: this.#next === plan.attempts.length ? leftMs : Math.min(planned.timeLimitMs, leftMs),
    }
  }

  /** A connection stands: what it lasts takes nothing of the time for reaching another, should it be cut unused. */
  stopClock(): void {
    this.#leftMs = this.#limit?.leftMs()
    this.#limit?.cancel()
    this.#limit = undefined
  }

  /**
   * Whether an endpoint that was reached is still in the plan, and its identity expected, by the configuration of now.
   * @throws SessionOver
   */
  async confirms(reached: PlannedAttempt, uri: string): Promise<boolean> {
    let plan = this.#plan
    while (plan === undefined || plan.generation < this.#core.generation()) plan = await this.#ask()
    return plan.attempts.some(({ endpoint, expect }) => endpoint === reached.endpoint && expect.includes(uri))
  }

  async #ask(): Promise<Plan> {
    const session = this.#session
    const answer = await ask(session, this.#core.route, { session: session.id, listener: session.spec.key })
    if (!answer.admitted) {
      session.abort(answer.reason, answer.detail)
      throw new SessionOver()
    }
    this.#plan = answer
    this.#next = 0
    return answer
  }
}
