import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import test, { type TestContext } from 'node:test'
import { askAgentBy, authorizeRequest, consulSerial } from '../../src/consul/authorize.ts'
import { Gate } from '../../src/consul/gate.ts'
import { parseAuthorization } from '../../src/consul/wire.ts'
import { spiffeId } from '../support/pki.ts'
import { until } from '../support/until.ts'
import { answerOf, type WrittenAnswer, writtenAgent } from '../support/written-agent.ts'

const question = { service: 'db', uri: spiffeId('web'), serial: '0AFF' }
const authorized = { body: { Authorized: true, Reason: 'Default behavior configured by ACLs' } }

test('a serial is written as Consul writes it', () => {
  for (const [hex, written] of [
    ['08', '08'],
    ['8', '08'],
    ['0AFF', '0a:ff'],
    ['AFF', '0a:ff'],
    ['000AFF01', '0a:ff:01'],
    ['00', '00'],
  ] as const)
    assert.equal(consulSerial(hex), written)
})

test('three fields are sent and no other; the serial only where there is one', () => {
  const { body, method, path, lane } = authorizeRequest(question)
  assert.deepEqual([method, path, lane], ['POST', '/v1/agent/connect/authorize', 'short'])
  assert.deepEqual(body, { Target: 'db', ClientCertURI: spiffeId('web'), ClientCertSerial: '0a:ff' })
  assert.deepEqual(authorizeRequest({ service: 'db', uri: 'x' }).body, { Target: 'db', ClientCertURI: 'x' })
})

test('the agent says yes or no; anything else is no answer', async t => {
  let answer: WrittenAnswer = authorized
  const ask = askAgentBy(await writtenAgent(t, () => answer))
  const { signal } = new AbortController()
  assert.equal((await ask(question, signal)).authorized, true)
  answer = { body: { Authorized: false, Reason: 'Matched intention: DENY' } }
  assert.deepEqual(await ask(question, signal), { authorized: false, reason: 'Matched intention: DENY' })
  answer = { status: 403, body: 'Permission denied' }
  await assert.rejects(ask(question, signal), { code: 'agent_denied', message: /403 Permission denied/ })
  for (const body of [{}, { Authorized: 'true' }, [], 'true'])
    assert.throws(() => parseAuthorization(answerOf(body)), { code: 'agent_answer' })
})

/** An agent that answers when the test says so. */
async function slowAgent(t: TestContext) {
  const open: { readonly request: IncomingMessage; readonly release: () => void }[] = []
  let [ports, asked] = [new Set<number | undefined>(), 0]
  const client = await writtenAgent(t, (path, _, request) => {
    if (!path.endsWith('/authorize')) return { body: {} }
    asked++
    ports = ports.add(request.socket.remotePort)
    return new Promise<WrittenAnswer>(resolve => open.push({ request, release: () => resolve(authorized) }))
  })
  return { client, open, ports: () => ports.size, asked: () => asked }
}

test('however many ask, two connections are used, and each question is answered', async t => {
  const agent = await slowAgent(t)
  const ask = askAgentBy(agent.client)
  const { signal } = new AbortController()
  const answers = Promise.all(Array.from({ length: 20 }, () => ask(question, signal)))
  for (let at = 0; at < 20; at++) {
    await until(() => agent.open[at], `question ${at}`)
    assert.ok(agent.asked() <= at + 2, 'two at a time')
    agent.open[at]?.release()
  }
  assert.equal((await answers).length, 20)
  assert.ok(agent.ports() <= 2, `${agent.ports()} connections`)
})

test('a question that is taken back leaves its place, whether it was sent or waited', async t => {
  const agent = await slowAgent(t)
  const ask = askAgentBy(agent.client)
  const [given, kept] = [new AbortController(), new AbortController()]
  const back = [1, 2, 3].map(() => assert.rejects(ask(question, given.signal)))
  const last = ask(question, kept.signal)
  await until(() => agent.open.length === 2, 'two questions')
  given.abort()
  await Promise.all(back)
  const sent = await until(() => agent.open[2], 'the last question')
  sent.release()
  assert.equal((await last).authorized, true)
  assert.equal(agent.asked(), 3, 'one of the three was never sent')
})

test('a gate lets as many pass as it has places, in order, and also after one that failed', async () => {
  const gate = new Gate(1)
  const { signal } = new AbortController()
  const order: number[] = []
  const first = gate.pass(async () => {
    order.push(1)
    throw new Error('no')
  }, signal)
  const second = gate.pass(async () => order.push(2), signal)
  const third = gate.pass(async () => order.push(3), signal)
  await assert.rejects(first, /no/)
  await Promise.all([second, third])
  assert.deepEqual(order, [1, 2, 3])
  await assert.rejects(gate.pass(async () => order.push(4), AbortSignal.abort()))
  assert.deepEqual(order, [1, 2, 3])
})
