// Questions to policy: gathered over a turn of the loop, asked in one batch, each with a time limit, answered at most once.

import { after, type Deadline } from './deadline.ts'
import type { Generation, SessionId } from './interface.ts'

interface Asked<Question, Answer> {
  readonly question: Question
  readonly timeLimitMs: number
  readonly settle: (answer: Answer | undefined) => void
  limit?: Deadline
}

export class Questions<
  Question extends { readonly session: SessionId },
  Answer extends { readonly session: SessionId; readonly generation: Generation },
> {
  readonly #put: (questions: readonly Question[], answer: (answers: readonly Answer[]) => void) => void
  readonly #waiting = new Map<SessionId, Asked<Question, Answer>>()
  #batch: Asked<Question, Answer>[] = []

  constructor(put: (questions: readonly Question[], answer: (answers: readonly Answer[]) => void) => void) {
    this.#put = put
  }

  /**
   * `settle` gets the answer, or undefined where none came in time. A session asks one question at a time.
   * @returns takes the question back: a later answer is ignored
   */
  ask(question: Question, timeLimitMs: number, settle: (answer: Answer | undefined) => void): () => void {
    const asked: Asked<Question, Answer> = { question, timeLimitMs, settle }
    if (this.#batch.length === 0) setImmediate(() => this.#flush())
    this.#batch.push(asked)
    this.#waiting.set(question.session, asked)
    return () => this.#take(asked)
  }

  /** Takes every question back; nothing is settled any more. */
  close(): void {
    for (const asked of this.#waiting.values()) asked.limit?.cancel()
    this.#waiting.clear()
  }

  #flush(): void {
    const batch = this.#batch.filter(asked => this.#waiting.get(asked.question.session) === asked)
    this.#batch = []
    if (batch.length === 0) return
    for (const asked of batch) {
      asked.limit = after(asked.timeLimitMs, () => {
        if (this.#take(asked)) asked.settle(undefined)
      })
    }
    const open = new Set(batch)
    this.#put(
      batch.map(asked => asked.question),
      answers => {
        for (const answer of answers) {
          const asked = this.#waiting.get(answer.session)
          // An answer to this batch only: one that comes late must not settle the session's next question.
          if (asked === undefined || !open.has(asked)) continue
          this.#take(asked)
          asked.settle(answer)
        }
      },
    )
  }

  #take(asked: Asked<Question, Answer>): boolean {
    asked.limit?.cancel()
    if (this.#waiting.get(asked.question.session) !== asked) return false
    return this.#waiting.delete(asked.question.session)
  }
}
