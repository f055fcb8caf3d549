// What the two directions share: the identity of the moment, the generation, the questions to policy.
import type { AdmitAnswer, AdmitQuestion, Generation, RouteAnswer, RouteQuestion } from '../interface.ts'
import type { Questions } from '../questions.ts'
import type { OwnDials } from './own-dials.ts'
import type { Session } from './session.ts'
import type { TlsIdentity } from './tls.ts'

export interface Core {
  readonly identity: () => TlsIdentity | undefined
  readonly generation: () => Generation
  readonly ownDials: OwnDials
  /** The session's peer is no stranger any more. */
  readonly admitted: (session: Session) => void
  readonly admit: Questions<AdmitQuestion, AdmitAnswer>
  readonly route: Questions<RouteQuestion, RouteAnswer>
}

/** Asks policy for one session; ends the session where too many wait already, or no answer comes in time. */
export async function ask<Q extends AdmitQuestion | RouteQuestion, A extends AdmitAnswer | RouteAnswer>(
  session: Session,
  questions: Questions<Q, A>,
  question: Q,
): Promise<A> {
  const { tally, spec } = session
  if (tally.waiting >= spec.maxWaiting) {
    session.abort('policy_overload', `${tally.waiting} connections wait`)
  }
  const askedAt = performance.now()
  tally.waiting++
  session.state = 'deciding'
  let answer: A | undefined
  try {
    answer = await session.wait<A | undefined>(resolve => {
      const takeBack = questions.ask(question, spec.policyTimeoutMs, resolve)
      return () => takeBack()
    })
  } finally {
    tally.waiting--
    session.policyMs = (session.policyMs ?? 0) + performance.now() - askedAt
  }
  if (answer !== undefined) return answer
  session.abort('policy_timeout', `no answer within ${spec.policyTimeoutMs} ms`)
  // The session is over: this throws as every wait of it does.
  return session.wait<A>(() => () => {})
}
