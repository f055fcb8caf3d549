// Whoever answers on the agent's port may answer anything. Valid answers are broken at random, from a seed that a failure prints: what
// comes out is a good value or a SidespliceError, and nothing else.
import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import test, { type TestContext } from 'node:test'
import { RegistrationReader } from '../../src/config/registration.ts'
import type { Answer } from '../../src/consul/client.ts'
import { ConsulClient } from '../../src/consul/client.ts'
import { findProxy } from '../../src/consul/find-proxy.ts'
import * as wire from '../../src/consul/wire.ts'
import { SidespliceError } from '../../src/errors.ts'
import { parseLeaf, parseTrustBundle } from '../../src/identity/identity.ts'
import { meshState } from '../../src/snapshot/from-consul.ts'
import { Era } from '../support/consul-eras.ts'
import { mesh } from '../support/pki.ts'
import { answerOf } from '../support/written-agent.ts'

const seed = Number(process.env.SIDESPLICE_FUZZ_SEED ?? Date.now() % 1_000_000)
// Bounded by work, not by time: what is run is the same on each machine.
const rounds = 5_000
// A certificate is parsed and verified in each: those are slow.
const slowRounds = 500

function generator(from: number) {
  let state = (from + 1) >>> 0
  return (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const era = new Era(20)
const member = { id: 'db1', name: 'db', publicPort: 21_001, appPort: 9_090 }
const upstreams = [
  era.upstream('api', 19_191),
  { ...era.upstream('cache', 19_192), DestinationType: 'prepared_query' },
]
const trust = parseTrustBundle(mesh.root.certPem)
const identity = {
  trust,
  leaf: parseLeaf({ certPem: mesh.db.chainPem, keyPem: Buffer.from(mesh.db.keyPem), trust, now: Date.now() }),
}

const isText = (value: unknown) => assert.equal(typeof value, 'string')
const isPort = (value: unknown) =>
  assert.ok(Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535)

function areInstances(instances: readonly wire.Instance[]): void {
  for (const { host, port, service, weight, datacenter } of instances) {
    for (const value of [host, service, datacenter]) isText(value)
    isPort(port)
    assert.ok(Number.isSafeInteger(weight) && weight >= 1)
  }
}

/** Each parser with a valid answer and what any value that it gives must be. */
const parsers: readonly { name: string; valid: unknown; run: (answer: Answer) => void }[] = [
  {
    name: 'roots',
    valid: JSON.parse(
      JSON.stringify(era.roots([mesh.root]), (_, value) => (typeof value === 'bigint' ? 7 : value)),
    ),
    run: answer => {
      const { pem, trustDomain } = wire.parseRoots(answer)
      isText(trustDomain)
      parseTrustBundle(pem)
    },
  },
  {
    name: 'leaf',
    valid: era.leaf('db', mesh.db),
    run: answer => {
      const leaf = parseLeaf({ ...wire.parseLeafAnswer(answer), trust, now: Date.now() })
      assert.equal(leaf.id.uri, identity.leaf.id.uri)
    },
  },
  {
    name: 'a proxy and the state made of it',
    valid: era.registration({ ...member, upstreams }),
    run: answer => {
      const proxy = wire.parseProxyService(answer)
      const reader = new RegistrationReader(new Map(), () => {})
      const state = meshState({ proxy, identity, intentions: undefined, instances: () => [] }, reader)
      if (state.inbound !== undefined) {
        isPort(state.inbound.bind.port)
        assert.ok(Number.isFinite(state.inbound.handshakeTimeoutMs) && state.inbound.handshakeTimeoutMs >= 1)
      }
      for (const { bind } of state.upstreams) isPort(bind.port)
    },
  },
  { name: 'instances', valid: [era.row(member)], run: answer => areInstances(wire.parseInstances(answer)) },
  {
    name: 'a query',
    valid: { Service: 'db', Nodes: [era.row(member)], Datacenter: 'dc1', Failovers: 0 },
    run: answer => areInstances(wire.parseQueryResult(answer).instances),
  },
  {
    name: 'intentions',
    valid: {
      db: [era.intention('web', 'db', { Action: 'allow' }), era.intention('*', 'db', { Permissions: [{}] })],
    },
    run: answer => {
      for (const rule of wire.parseIntentions(answer, 'db')) {
        for (const value of [rule.sourceName, rule.sourceNamespace, rule.sourcePartition]) isText(value)
        assert.ok(rule.action === 'allow' || rule.action === 'deny')
      }
    },
  },
  {
    name: 'an authorization',
    valid: era.byDefault(),
    run: answer => {
      const { authorized, reason } = wire.parseAuthorization(answer)
      assert.equal(typeof authorized, 'boolean')
      isText(reason)
    },
  },
]

const deep: unknown = JSON.parse(`${'{"a":['.repeat(50_000)}1${']}'.repeat(50_000)}`)
const oddities: readonly (() => unknown)[] = [
  () => null,
  () => undefined,
  () => true,
  () => -1,
  () => 1.5,
  () => 2 ** 60,
  () => 65_536,
  () => '',
  () => '*',
  () => '\u0000\ud800\n"',
  () => 'x'.repeat(5_000),
  () => '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  () => [],
  () => [null],
  () => ({}),
  () => ({ toString: 1, valueOf: 1 }),
  () => JSON.parse('{"__proto__":{"Kind":"connect-proxy","Action":"allow"},"constructor":1}'),
  () => deep,
]

/** One to three places changed to what JSON can hold: another value, another name, or nothing left of it. */
function broken(valid: string, next: (below: number) => number): unknown {
  const holder: { whole: unknown } = { whole: JSON.parse(valid) }
  for (let change = 0; change <= next(3); change++) breakOne(holder, next)
  return holder.whole
}

function breakOne(whole: object, next: (below: number) => number): void {
  let holder = whole as Record<string, unknown>
  for (;;) {
    const keys = Object.keys(holder)
    const key = keys[next(keys.length)]
    if (key === undefined) return
    const value = holder[key]
    if (typeof value === 'object' && value !== null && value !== deep && next(4) > 0) {
      holder = value as Record<string, unknown>
      continue
    }
    if (Array.isArray(holder) || next(5) > 1) holder[key] = oddities[next(oddities.length)]?.()
    else if (next(2) === 0) delete holder[key]
    else {
      // As JSON.parse makes it: a property of its own, whatever its name.
      const name = ['__proto__', 'constructor', 'toString', 'length'][next(4)] ?? ''
      Object.defineProperty(holder, name, { value, enumerable: true, configurable: true, writable: true })
    }
    return
  }
}

for (const { name, valid, run } of parsers) {
  test(`${name}: whatever the agent answers, a good value or a refusal (seed ${seed})`, () => {
    const next = generator(seed)
    run(answerOf(valid))
    const text = JSON.stringify(valid)
    const count = name === 'leaf' || name === 'roots' ? slowRounds : rounds
    let refused = 0
    for (let round = 0; round < count; round++) {
      const body = broken(text, next)
      try {
        run(answerOf(body))
      } catch (error) {
        if (!(error instanceof SidespliceError)) throw new Error(`round ${round}`, { cause: error })
        refused++
      }
    }
    assert.ok(refused > count / 50, `${refused} were refused`)
    assert.ok(refused < count, 'none was taken')
    assert.equal(({} as { Kind?: string }).Kind, undefined, 'no prototype was touched')
  })
}

/** Answers each connection by bytes of the test's own. */
async function hostileAgent(t: TestContext, serve: (socket: Socket) => void): Promise<ConsulClient> {
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.once('data', () => serve(socket))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const client = new ConsulClient({
    address: { origin: `http://127.0.0.1:${port}`, prefix: '', tls: false },
    token: () => undefined,
  })
  t.after(async () => {
    await client.close()
    server.close()
  })
  return client
}

const head = (length: number | string, more = '') =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n${more}\r\n`
const ask = (client: ConsulClient) =>
  client.send({ lane: 'short', path: '/v1/agent/services', timeoutMs: 5_000 })

for (const [what, bytes] of [
  ['nothing', ''],
  ['no HTTP', '\u0016\u0003\u0001 nonsense\r\n\r\n'],
  ['an answer cut in its head', 'HTTP/1.1 200 O'],
  ['an answer cut in its body', `${head(1_000)}{"a":`],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}'],
  ['a length that is none', `${head('-1')}{}`],
  ['chunks that are none', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'],
  ['a head without an end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}`],
] as const) {
  test(`an agent that answers ${what} is one that does not answer`, async t => {
    const client = await hostileAgent(t, socket => socket.end(bytes, 'latin1'))
    await assert.rejects(ask(client), { code: 'agent_unreachable', source: 'consul' })
  })
}

test('an answer without an end is cut off, and the next request is answered', async t => {
  let served = 0
  const client = await hostileAgent(t, socket => {
    if (served++ > 0) return void socket.end(`${head(2)}{}`)
    socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n')
    const block = Buffer.alloc(1024 * 1024, 'x')
    const more = () => {
      while (!socket.destroyed && socket.write(block));
    }
    socket.on('drain', more)
    more()
  })
  await assert.rejects(ask(client), { code: 'agent_answer', message: /over 33554432 bytes/ })
  assert.deepEqual((await ask(client)).body, {})
})

test(`bytes at random are an answer of text, or none (seed ${seed})`, async t => {
  const next = generator(seed)
  const client = await hostileAgent(t, socket => {
    const body = Buffer.from(Array.from({ length: 1 + next(400) }, () => next(256)))
    socket.end(Buffer.concat([Buffer.from(head(body.length, `X-Consul-Index: ${next(99)}\r\n`)), body]))
  })
  for (let round = 0; round < 100; round++) {
    const answer = await ask(client)
    assert.throws(() => wire.parseProxyService(answer), { code: 'agent_answer' })
    assert.ok(Number.isSafeInteger(answer.index))
    await assert.rejects(
      findProxy({
        client,
        wanted: { proxyId: 'x' },
        waitMs: 0,
        onWaiting: () => {},
        signal: new AbortController().signal,
      }),
      { code: 'not_registered' },
    )
  }
})
