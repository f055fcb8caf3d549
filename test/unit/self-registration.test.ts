// What an agent does that is slow, silent, new or somebody else's, as a proxy that registers itself meets it.
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import test, { type TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { SelfRegistration, type SelfRegistrationOptions } from '../../src/consul/self-registration.ts'
import type { SidespliceError } from '../../src/errors.ts'
import { until } from '../support/until.ts'
import { type WrittenAnswer, writtenAgent } from '../support/written-agent.ts'

const never = new Promise<WrittenAnswer>(() => {})
const good: WrittenAnswer = { body: '' }
const unknown: WrittenAnswer = { status: 404, body: 'unknown' }

interface Seen {
  readonly requests: string[]
  readonly registered: string[]
  readonly failures: SidespliceError[]
}

/** A proxy of web at 127.0.0.1:20000; `answer` gets `METHOD last-words-of-the-path`. */
async function register(
  t: TestContext,
  answer: (request: string, message: IncomingMessage) => WrittenAnswer | Promise<WrittenAnswer>,
  options: Partial<SelfRegistrationOptions> = {},
): Promise<{ readonly own: SelfRegistration; readonly seen: Seen }> {
  const seen: Seen = { requests: [], registered: [], failures: [] }
  let own: SelfRegistration | undefined
  // Before the agent goes.
  t.after(() => own?.end().catch(() => {}))
  const client = await writtenAgent(t, (path, _query, message) => {
    const request = `${message.method} ${path.replace('/v1/agent/', '')}`
    seen.requests.push(request)
    return answer(request, message)
  })
  own = new SelfRegistration({
    client,
    service: 'web',
    listen: { host: '127.0.0.1', port: 20_000 },
    missing: () => [],
    onRegistered: because => seen.registered.push(because),
    onFailure: error => seen.failures.push(error),
    ...options,
  })
  own.start()
  return { own, seen }
}

const record = (fields: object = {}): WrittenAnswer => ({
  body: {
    Kind: 'connect-proxy',
    ID: 'web-proxy',
    Service: 'web-proxy',
    Address: '127.0.0.1',
    Port: 20_000,
    Proxy: { DestinationServiceName: 'web' },
    ...fields,
  },
})

const pass = 'PUT check/pass/web-proxy-ttl'
const put = 'PUT service/register'
const get = 'GET service/web-proxy'
const takeBack = 'PUT service/deregister/web-proxy'

for (const [what, had, because] of [
  ['another address', { Address: '10.0.0.1' }, '10.0.0.1:20000'],
  ['another port', { Port: 1 }, '127.0.0.1:1'],
  ['a proxy of another service', { Proxy: { DestinationServiceName: 'api' } }, 'a proxy of api'],
] as const) {
  test(`a record with ${what} is registered anew`, async t => {
    const { seen } = await register(t, request => (request === get ? record(had) : good))
    await until(() => seen.requests.includes(pass), 'a heartbeat')
    assert.deepEqual(seen.requests, [get, put, pass])
    assert.deepEqual(seen.registered, [because])
  })
}

test('a record as it should be is left alone', async t => {
  const { seen } = await register(t, request => (request === get ? record() : good))
  await until(() => seen.requests.includes(pass), 'a heartbeat')
  assert.deepEqual(seen.requests, [get, pass])
})

test("the record is looked at again after a while, and one of somebody's making put right", async t => {
  let looks = 0
  const { seen } = await register(
    t,
    request => (request === get ? record(looks++ === 0 ? {} : { Port: 1 }) : good),
    { heartbeatMs: 10, reconcileMs: 20 },
  )
  await until(() => seen.registered.length > 0, 'a registration')
  assert.deepEqual(seen.registered, ['127.0.0.1:1'])
  assert.ok(looks >= 2)
})

test('an ordinary service of the same ID is not overwritten, nor taken away', async t => {
  const { own, seen } = await register(t, () => record({ Kind: '' }))
  await until(() => seen.failures.length > 0, 'a failure')
  await own.end()
  assert.ok(!seen.requests.includes(put) && !seen.requests.includes(takeBack), seen.requests.join())
})

test("while it is not ready it neither fails nor takes back what it found, which may be another process's", async t => {
  let missing = ['inbound listener']
  let looks = 0
  const { own, seen } = await register(
    t,
    request => {
      if (request === get) looks++
      return request === get ? record() : good
    },
    { missing: () => missing, reconcileMs: 0 },
  )
  own.wake()
  await until(() => looks > 1, 'another turn')
  assert.ok(!seen.requests.some(request => request !== get), seen.requests.join())
  missing = []
  own.wake()
  await until(() => seen.requests.includes(pass), 'a heartbeat once it is ready')
  await own.end()
  assert.equal(seen.requests.at(-1), takeBack)
})

test('a sidecar that was never ready leaves what it found where it is', async t => {
  const { own, seen } = await register(t, request => (request === get ? record() : good), {
    missing: () => ['inbound listener'],
  })
  await until(() => seen.requests.length > 0, 'a look')
  await own.end()
  assert.deepEqual(seen.requests, [get])
})

for (const status of [404, 500]) {
  test(`a check that the agent does not know (${status}) has the registration made again`, async t => {
    let beats = 0
    const { seen } = await register(t, request => {
      if (request === get) return record()
      return request === pass && beats++ === 0 ? { status, body: 'Unknown check' } : good
    })
    await until(() => beats === 2, 'a second heartbeat')
    assert.deepEqual(seen.requests, [get, pass, put, pass])
  })
}

test('while something is missing the check fails, and at the news of readiness it passes', async t => {
  const missing = ['certificates']
  const { own, seen } = await register(t, request => (request === get ? unknown : good), {
    missing: () => missing,
    heartbeatMs: 60_000,
  })
  const fail = 'PUT check/fail/web-proxy-ttl'
  await until(() => seen.requests.includes(fail), 'a heartbeat')
  assert.deepEqual(seen.requests, [get, put, fail])
  missing.pop()
  own.wake()
  await until(() => seen.requests.includes(pass), 'another one')
})

test('a failure is told once, and told again after it went well', async t => {
  let tries = 0
  let beats = 0
  const { seen } = await register(
    t,
    request => {
      if (request === get) return unknown
      if (request === put) return ++tries < 3 ? { status: 500, body: 'no leader' } : good
      return ++beats === 1 ? good : { status: 429, body: 'too many' }
    },
    { heartbeatMs: 10 },
  )
  await until(() => seen.registered.length === 1, 'a registration', 20_000)
  assert.deepEqual(
    seen.failures.map(({ message }) => message),
    ['/v1/agent/service/register: 500 no leader'],
  )
  await until(() => beats > 2, 'heartbeats that are refused', 20_000)
  assert.deepEqual(
    seen.failures.map(({ message }) => message),
    ['/v1/agent/service/register: 500 no leader', '/v1/agent/check/pass/web-proxy-ttl: 429 too many'],
  )
})

for (const [host, address] of [
  ['127.0.0.1', { Address: '127.0.0.1' }],
  ['::1', { Address: '::1' }],
  ['0.0.0.0', {}],
  ['::', {}],
  ['0:0::0', {}],
] as const) {
  test(`at ${host} it registers ${JSON.stringify(address)}, and a check that is critical until it is ready`, async t => {
    let body = ''
    const { seen } = await register(
      t,
      async (request, message) => {
        if (request === put) for await (const chunk of message) body += chunk
        return request === `${get}-r1` ? unknown : good
      },
      { listen: { host, port: 20_000 }, suffix: 'r1' },
    )
    await until(() => seen.registered.length === 1, 'a registration')
    assert.deepEqual(JSON.parse(body), {
      Kind: 'connect-proxy',
      ID: 'web-proxy-r1',
      Name: 'web-proxy',
      ...address,
      Port: 20_000,
      Proxy: { DestinationServiceName: 'web' },
      Check: {
        CheckID: 'web-proxy-r1-ttl',
        Name: 'proxy heartbeat',
        Notes: 'The proxy passes this check while it is ready.',
        TTL: '30s',
        Status: 'critical',
      },
    })
  })
}

test('a registration under way is waited for, and taken back; nothing comes after that', async t => {
  let arrived = () => {}
  const asked = new Promise<void>(resolve => {
    arrived = resolve
  })
  let answerIt = (_: WrittenAnswer) => {}
  const { own, seen } = await register(t, request => {
    if (request === get) return unknown
    if (request !== put) return good
    arrived()
    return new Promise(resolve => {
      answerIt = resolve
    })
  })
  await asked
  const ended = own.end()
  own.wake()
  // Turns of the loop in which whoever does not wait would have cut it off.
  for (let turns = 0; turns < 20; turns++) await nextTurn()
  answerIt(good)
  await ended
  assert.equal(seen.registered.length, 1, 'it was cut off')
  assert.deepEqual(seen.requests, [get, put, takeBack])
})

test('what was never registered is not taken back', async t => {
  const { own, seen } = await register(t, request =>
    request === get ? unknown : { status: 403, body: 'Permission denied' },
  )
  await until(() => seen.failures.length > 0, 'a refusal')
  assert.match(seen.failures[0]?.message ?? '', /needs service:write on web-proxy and on web$/)
  await own.end()
  assert.ok(!seen.requests.includes(takeBack))
})

test('taking back is tried three times, and then given up', async t => {
  const { own, seen } = await register(t, request =>
    request === takeBack ? { status: 500, body: 'not now' } : request === get ? unknown : good,
  )
  await until(() => seen.requests.includes(pass), 'a heartbeat')
  await assert.rejects(own.end(), /not now/)
  await assert.rejects(own.end(), /not now/)
  assert.equal(seen.requests.filter(request => request === takeBack).length, 3)
})

test('an agent that says nothing holds up the end for two seconds, not for its ten', async t => {
  let silent = false
  const { own, seen } = await register(t, request => (silent ? never : request === get ? unknown : good), {
    heartbeatMs: 10,
  })
  await until(() => seen.requests.includes(pass), 'a heartbeat')
  silent = true
  await until(() => seen.requests.filter(request => request === pass).length > 1, 'one that is not answered')
  const startedAt = performance.now()
  await assert.rejects(own.end(), { code: 'agent_unreachable' })
  assert.ok(performance.now() - startedAt < 8_000)
})
