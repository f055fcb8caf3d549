// Answers on their way into the engine: argument by argument, which costs it a fraction of what reading an object's properties does.
import type { AdmitAnswer, RouteAnswer } from '../interface.ts'
import type { Engine, FlatAttempt } from './addon.ts'

export function giveAnswer(engine: Engine, answer: AdmitAnswer | RouteAnswer): void {
  const { session, generation } = answer
  if (!answer.admitted) engine.refuse(session, generation, answer.reason, answer.detail, answer.peer)
  else if ('target' in answer) {
    const { peer, target, connectTimeoutMs } = answer
    engine.admit(session, generation, peer, target.host, target.port, connectTimeoutMs)
  } else {
    const attempts = answer.attempts.map(
      ({ endpoint, address, serverName = '', timeLimitMs, expect }): FlatAttempt => [
        endpoint,
        address.host,
        address.port,
        serverName,
        timeLimitMs,
        ...expect,
      ],
    )
    engine.plan(session, generation, answer.connectTimeoutMs, attempts)
  }
}
