// The line that a session gets when it ends: what it holds, in both formats, and which sessions get none.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { describe, type TestContext, test } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import { packageRoot } from '../support/command.ts'
import { connect, reset } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { type LogLine, parseLogLine } from '../support/log-lines.ts'
import { mesh, spiffeId } from '../support/pki.ts'
import {
  type Pair,
  type RunningSidecar,
  type SidecarFile,
  startPair,
  upstreamTo,
} from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'
import { tlsConnect } from '../support/tls-peers.ts'

const levels = ['trace', 'debug', 'info', 'warn', 'error']
const common = ['session', 'direction', 'service']
const bytes = ['bytes_to_upstream', 'bytes_to_downstream']

/** The JavaScript data plane resumes nothing, and from kernel TLS no tickets are taken. */
const bothResume = (['dialing', 'dialed'] as const).every(end => planeOf(end).relay === 'records')

/** Kinds of sessions, with the fields of their lines in their order. */
const kinds = {
  cleanInbound: [
    ...common,
    'peer',
    'downstream',
    ...bytes,
    'policy_ms',
    'connect_ms',
    'handshake_ms',
    'duration_ms',
    'tls',
    'relay',
    'reason',
  ],
  cleanOutbound: [
    ...common,
    'peer',
    'downstream',
    'endpoint',
    ...bytes,
    'policy_ms',
    'connect_ms',
    'handshake_ms',
    'duration_ms',
    'tls',
    'relay',
    'reason',
  ],
  denied: [
    ...common,
    'peer',
    'downstream',
    ...bytes,
    'policy_ms',
    'handshake_ms',
    'duration_ms',
    'tls',
    'reason',
    'detail',
  ],
  connectFailed: [
    ...common,
    'downstream',
    'endpoint',
    'attempts',
    ...bytes,
    'policy_ms',
    'duration_ms',
    'reason',
    'detail',
  ],
} as const

for (const format of ['text', 'JSON'] as const) {
  describe(`as ${format}`, { concurrency: 2 }, () => {
    const log_json = format === 'JSON'
    const start = (t: TestContext) => startPair(t, { db: { log_json }, web: { log_json } })

    test('a clean session is told at both ends, with peer, endpoint, bytes and times', async t => {
      const pair = await start(t)
      const client = pair.connect()
      await client.echoes('twelve bytes')
      client.socket.end()
      await client.ends()
      const outbound = await accessLine(pair.web)
      assertFields(outbound, kinds.cleanOutbound)
      assert.equal(outbound.level, 'info')
      const { session, downstream, policy_ms, connect_ms, handshake_ms, duration_ms, ...facts } =
        outbound.fields
      assert.deepEqual(facts, {
        direction: 'outbound',
        service: 'db',
        peer: spiffeId('db'),
        endpoint: formatAddress(pair.dbPublic),
        bytes_to_upstream: 12,
        bytes_to_downstream: 12,
        tls: 'TLSv1.3',
        relay: planeOf('dialing').relay,
        reason: 'closed',
      })
      assert.match(String(downstream), /^127\.0\.0\.1:\d+$/)
      assert.equal(session, 1)
      for (const ms of [policy_ms, connect_ms, handshake_ms]) {
        assert.ok(Number(ms) >= 0 && Number(ms) <= Number(duration_ms), String(ms))
        assert.match(String(ms), /^\d+(\.\d{1,3})?$/)
      }

      const inbound = await accessLine(pair.db)
      assertFields(inbound, kinds.cleanInbound)
      assert.equal(inbound.fields.direction, 'inbound')
      assert.equal(inbound.fields.service, 'db')
      assert.equal(inbound.fields.peer, spiffeId('web'))
      assert.equal(inbound.fields.bytes_to_upstream, 12)
      assert.equal(inbound.fields.reason, 'closed')
    })

    test('a session that resumed an earlier one is told so on both sides, and counted', async t => {
      const pair = await start(t)
      for (let count = 1; count <= 2; count++) {
        const client = pair.connect()
        await client.echoes('hello')
        client.socket.end()
        const resumed = count === 2 && bothResume ? true : undefined
        for (const sidecar of [pair.web, pair.db]) {
          const { fields } = await accessLine(sidecar, count)
          assert.equal(fields.resumed, resumed)
          const total = await sidecar.metric('sidesplice_sessions_resumed_total')
          assert.equal(total, resumed === true ? 1 : 0)
        }
      }
    })

    test('a denied session is told with the peer that was refused, and why', async t => {
      const pair = await start(t)
      await pair.db.rewrite({ inbound: { ...inboundOf(pair.db), allow: [spiffeId('api')] } })
      await pair.db.applied(2)
      await pair.connect().isOver()
      const denied = await accessLine(pair.db)
      assertFields(denied, kinds.denied)
      assert.equal(denied.level, 'warn')
      assert.equal(denied.fields.peer, spiffeId('web'))
      assert.equal(denied.fields.reason, 'denied')
      assert.equal(denied.fields.detail, 'not in allow')
      assert.equal(denied.fields.bytes_to_upstream, 0)
    })

    test('a session that reached no endpoint is told with every attempt', async t => {
      const pair = await start(t)
      const bind = await freePort()
      const endpoints = [formatAddress(await freePort()), formatAddress(await freePort())]
      await pair.web.rewrite({ upstreams: [{ ...upstreamTo(bind, bind, 'gone'), endpoints }] })
      await pair.web.applied(2)
      await connect(t, bind).isOver()
      const failed = await accessLine(pair.web)
      assertFields(failed, kinds.connectFailed)
      assert.equal(failed.level, 'warn')
      assert.equal(failed.fields.service, 'gone')
      assert.equal(failed.fields.reason, 'connect_failed')
      const attempts = failed.fields.attempts as readonly string[]
      assert.deepEqual(
        attempts.toSorted(),
        endpoints.map(endpoint => `${endpoint} connect_failed (ECONNREFUSED)`).toSorted(),
      )
      assert.ok(endpoints.includes(String(failed.fields.endpoint)))
      assert.match(String(failed.fields.detail), /^127\.0\.0\.1:\d+: ECONNREFUSED$/)
    })

    test('a session that another endpoint carried is told with the attempt that failed before', async t => {
      const pair = await start(t)
      const gone = formatAddress(await freePort())
      const endpoints = [gone, formatAddress(pair.dbPublic)]
      await pair.web.rewrite({ upstreams: [{ ...upstreamTo(pair.dbPublic, pair.webUpstream), endpoints }] })
      await pair.web.applied(2)
      // Which of two is tried first is chance.
      for (let count = 1; ; count++) {
        const client = pair.connect()
        await client.echoes('hello')
        client.socket.end()
        const line = await accessLine(pair.web, count)
        assert.equal(line.fields.reason, 'closed')
        assert.equal(line.fields.endpoint, endpoints[1])
        if (line.fields.attempts === undefined) continue
        assert.deepEqual(line.fields.attempts, [
          `${gone} connect_failed (ECONNREFUSED)`,
          `${endpoints[1]} connected`,
        ])
        break
      }
    })

    test('every line has a time of RFC 3339 in UTC and the name of a level', async t => {
      const pair = await start(t)
      await cleanAndDenied(t, pair)
      const before = Date.now()
      await Promise.all([pair.web.command.stop(), pair.db.command.stop()])
      for (const { command } of [pair.web, pair.db]) {
        assert.ok(command.lines.length > 5)
        for (const line of command.lines) {
          assert.equal(line.startsWith('{'), log_json)
          const { time, level, message } = parseLogLine(line)
          assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
          assert.ok(Math.abs(Date.parse(time) - before) < 60_000)
          assert.ok(levels.includes(level), level)
          assert.notEqual(message, '')
        }
      }
    })
  })
}

test("the README's table has the fields that lines have, and no other", () => {
  const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')
  const table = readme.slice(readme.indexOf('| field | |'), readme.indexOf('| reason | it ended'))
  const named = [...table.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, names = '']) =>
    [...names.matchAll(/`([a-z_]+)`/g)].map(([, name]) => name),
  )
  // Of sessions whose records the kernel makes: test/ktls/splice looks at it.
  const ofKernelTls = ['spliced_bytes']
  const ofResumed = ['resumed']
  assert.deepEqual(
    named.toSorted(),
    [...new Set([...Object.values(kinds).flat(), ...ofKernelTls, ...ofResumed])].toSorted(),
  )
})

describe('--access-log', { concurrency: 2 }, () => {
  /** One clean session and one that is denied, of which `db` tells. */
  const reasonsTold = async (t: TestContext, db: SidecarFile, args: readonly string[] = []) => {
    const pair = await startPair(t, { db, dbOptions: { args } })
    await cleanAndDenied(t, pair)
    await pair.db.command.stop()
    return reasonsOf(pair.db)
  }

  test('all tells of every session', async t => {
    assert.deepEqual(await reasonsTold(t, { access_log: 'all' }), ['closed', 'denied'])
  })

  test('is all where nothing is said', async t => {
    assert.deepEqual(await reasonsTold(t, {}), ['closed', 'denied'])
  })

  test('errors leaves out those that ended cleanly', async t => {
    assert.deepEqual(await reasonsTold(t, { access_log: 'errors' }), ['denied'])
  })

  test('off tells of none', async t => {
    assert.deepEqual(await reasonsTold(t, {}, ['--access-log', 'off']), [])
  })

  test('changes while it runs', async t => {
    const pair = await startPair(t, { db: { access_log: 'off' } })
    await cleanAndDenied(t, pair)
    await pair.db.rewrite({ access_log: 'all' })
    await pair.db.applied(2)
    await cleanAndDenied(t, pair)
    await pair.db.command.stop()
    assert.deepEqual(reasonsOf(pair.db), ['closed', 'denied'])
  })
})

describe('a connection without a byte is counted and not told', { concurrency: 2 }, () => {
  const unused = { reason: 'closed_before_first_byte' }

  /** Its end at one sidecar, as the metrics have it. */
  const counted = (sidecar: RunningSidecar, count: number) =>
    sidecar.eventually(
      async () => (await sidecar.metric('sidesplice_sessions_ended_total', unused)) === count,
      `${count} unused connections in the metrics`,
    )

  const isNotTold = async ({ web, db }: Pair) => {
    for (const sidecar of [web, db]) {
      await sidecar.command.stop()
      assert.deepEqual(reasonsOf(sidecar), [])
    }
  }

  test('a health check of the public listener', async t => {
    const pair = await startPair(t)
    await probe(t, pair.dbPublic)
    await counted(pair.db, 1)
    assert.equal(await pair.db.metric('sidesplice_connections_accepted_total'), 1)
    assert.equal(pair.app.connections.length, 0)
    await isNotTold(pair)
  })

  test('a health check of the public listener that resets', async t => {
    const pair = await startPair(t)
    await probe(t, pair.dbPublic, reset)
    await counted(pair.db, 1)
    await isNotTold(pair)
  })

  test('a health check of the public listener by TLS', async t => {
    const pair = await startPair(t)
    const peer = tlsConnect(t, pair.dbPublic, { certificate: mesh.web, root: mesh.root })
    await pair.db.eventually(async () => pair.app.connections.length === 1, 'the app to be reached')
    peer.socket.end()
    await counted(pair.db, 1)
    await isNotTold(pair)
  })

  test('a health check of an upstream listener', async t => {
    const pair = await startPair(t)
    await probe(t, pair.webUpstream)
    await counted(pair.web, 1)
    await counted(pair.db, 1)
    await isNotTold(pair)
  })

  test('one that moved a byte is told', async t => {
    const pair = await startPair(t)
    const client = pair.connect()
    await client.echoes('x')
    client.socket.end()
    assert.equal((await accessLine(pair.web)).fields.bytes_to_upstream, 1)
    assert.equal((await accessLine(pair.db)).fields.bytes_to_upstream, 1)
    assert.equal(await pair.db.metric('sidesplice_sessions_ended_total', unused), 0)
  })

  test('one that speaks something else than TLS is told', async t => {
    const pair = await startPair(t)
    const client = connect(t, pair.dbPublic)
    client.send('GET / HTTP/1.1\r\n\r\n')
    await client.isOver()
    const { fields } = await accessLine(pair.db)
    assert.equal(fields.reason, 'handshake_failed')
    assert.equal(fields.detail, 'ERR_SSL_HTTP_REQUEST')
  })
})

/** Opens a connection and closes it once it stands. */
async function probe(
  t: TestContext,
  address: Address,
  close = (socket: Duplex): unknown => socket.end(),
): Promise<void> {
  const { socket } = connect(t, address)
  await once(socket, 'connect')
  close(socket)
}

async function cleanAndDenied(t: TestContext, pair: Pair): Promise<void> {
  const ended = (reason: string) => pair.db.metric('sidesplice_sessions_ended_total', { reason })
  const before = { closed: await ended('closed'), denied: await ended('denied') }
  const client = pair.connect()
  await client.echoes('hello')
  client.socket.end()
  await pair.db.eventually(async () => (await ended('closed')) === before.closed + 1, 'the clean session')
  // The certificate of db, which db does not allow.
  await tlsConnect(t, pair.dbPublic, { certificate: mesh.db, root: mesh.root }).isOver()
  await pair.db.eventually(async () => (await ended('denied')) === before.denied + 1, 'the denied session')
}

async function accessLine({ command }: RunningSidecar, count = 1): Promise<LogLine> {
  const line = parseLogLine(await command.line('session ended', count))
  assert.equal(line.message, 'session ended')
  return line
}

function reasonsOf({ command }: RunningSidecar): readonly string[] {
  return command.linesWith('session ended').map(line => String(parseLogLine(line).fields.reason))
}

function assertFields({ fields }: LogLine, wanted: readonly string[]): void {
  assert.deepEqual(Object.keys(fields), wanted)
}

function inboundOf({ config }: RunningSidecar): NonNullable<SidecarFile['inbound']> {
  return config.inbound ?? assert.fail('it has no public listener')
}
