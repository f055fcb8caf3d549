// POST /v1/agent/connect/authorize: whether the agent lets a peer reach our service.
import type { AgentQuestion, AskAgent } from '../authorization/authorization.ts'
import { defined } from '../defined.ts'
import { refused } from './blocking-query.ts'
import { type ConsulClient, lanes, type Request } from './client.ts'
import { Gate } from './gate.ts'
import { shortAnswerMs } from './poll.ts'
import { parseAuthorization } from './wire.ts'

const path = '/v1/agent/connect/authorize'

export function askAgentBy(client: ConsulClient): AskAgent {
  // What waits here does not stand in the lane before the calls that bring news.
  const gate = new Gate(lanes.short)
  return (question, signal) =>
    gate.pass(async () => {
      const answer = await client.send({ ...authorizeRequest(question), signal })
      if (answer.status !== 200) throw refused(path, answer)
      return parseAuthorization(answer)
    }, signal)
}

/** These three fields and no other: an agent refuses what it does not know. */
export function authorizeRequest({ service, uri, serial }: AgentQuestion): Request {
  const body = defined({
    Target: service,
    ClientCertURI: uri,
    ClientCertSerial: serial === undefined ? undefined : consulSerial(serial),
  })
  return { lane: 'short', path, method: 'POST', body, timeoutMs: shortAnswerMs }
}

/** As Consul writes serials: bytes in lower-case hexadecimal with colons between, the first of them not zero. */
export function consulSerial(hex: string): string {
  const digits = hex.toLowerCase().replace(/^0+(?=.)/, '')
  return digits.padStart(digits.length + (digits.length % 2), '0').replace(/..(?=.)/g, '$&:')
}
