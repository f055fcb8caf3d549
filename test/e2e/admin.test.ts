// What an operator asks a running sidecar over HTTP, and who may ask.
import assert from 'node:assert/strict'
import net from 'node:net'
import { describe, type TestContext, test } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import { freePort } from '../support/free-ports.ts'
import { issueLeaf, mesh, spiffeId } from '../support/pki.ts'
import {
  ask,
  eventually,
  type HttpAnswer,
  launchSidecar,
  startPair,
  startSidecar,
  upstreamTo,
} from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'

const adminPaths = ['/live', '/ready', '/metrics', '/sessions', '/state']
const metricsPaths = ['/live', '/ready', '/metrics']

test('/live answers', async t => {
  const sidecar = await startSidecar(t, {})
  assertText(await sidecar.get('/live'), 200, 'live\n')
})

describe('/ready', { concurrency: 3 }, () => {
  test('answers 200 where nothing is missing', async t => {
    const sidecar = await startSidecar(t, {})
    assertText(await sidecar.get('/ready'), 200, 'ready\n')
  })

  test('names the public listener whose port is taken, and answers 200 once the port is free', async t => {
    const taken = await takePort(t)
    const sidecar = await launchSidecar(t, { inbound: inboundAt(taken.address) })
    await sidecar.command.line('not ready,')
    const at = formatAddress(taken.address)
    const body = `not ready, missing:\n- inbound listener of web at ${at} (EADDRINUSE)\n`
    assertText(await sidecar.get('/ready'), 503, body)
    assertText(await sidecar.get('/live'), 200, 'live\n')
    taken.release()
    await sidecar.command.line('listening')
    assertText(await sidecar.get('/ready'), 200, 'ready\n')
  })

  test('names an upstream listener whose port is taken, and no other', async t => {
    const taken = await takePort(t)
    const sidecar = await launchSidecar(t, {
      inbound: inboundAt(await freePort()),
      upstreams: [
        upstreamTo(await freePort(), taken.address),
        upstreamTo(await freePort(), await freePort(), 'orders'),
      ],
    })
    await sidecar.command.line('not ready,')
    const at = formatAddress(taken.address)
    const body = `not ready, missing:\n- outbound listener of db at ${at} (EADDRINUSE)\n`
    assertText(await sidecar.get('/ready'), 503, body)
  })

  test('says that our certificate has expired', async t => {
    const leaf = await issueLeaf('web', mesh.root, { notAfter: new Date(Date.now() + 12_000) })
    const sidecar = await startSidecar(t, {}, { leaf })
    await sidecar.command.line('our certificate has expired')
    assertText(
      await sidecar.get('/ready'),
      503,
      'not ready, missing:\n- a certificate that has not expired\n',
    )
    assertText(await sidecar.get('/live'), 200, 'live\n')
  })

  test('is told in the log when it comes late, and when it goes', async t => {
    const first = await takePort(t)
    const sidecar = await launchSidecar(t, { inbound: inboundAt(first.address) })
    await sidecar.command.line('not ready,')
    assert.deepEqual(sidecar.command.linesWith(' ready '), [])
    first.release()
    assert.match(await sidecar.command.line(' ready '), / INFO {2}ready service=web$/)

    const second = await takePort(t)
    await sidecar.rewrite({ inbound: inboundAt(second.address) })
    assert.match(await sidecar.command.line('not ready,', 2), / WARN .* missing=\["inbound listener /)
  })
})

describe('/sessions', { concurrency: 3 }, () => {
  interface Shown {
    readonly session: number
    readonly bytes_to_upstream: number
    readonly started_at: string
    readonly [field: string]: unknown
  }

  test('shows a live session with its bytes so far, on either side, under the names of its access line', async t => {
    const pair = await startPair(t)
    const startedAt = Date.now()
    const client = pair.connect()
    await client.echoes('twelve bytes')
    const [outbound, ...more] = await pair.web.json<Shown[]>('/sessions')
    const [inbound] = await pair.db.json<Shown[]>('/sessions')
    assert.ok(outbound !== undefined && inbound !== undefined)
    assert.equal(more.length, 0)
    const { session, downstream, started_at, ...facts } = outbound
    assert.deepEqual(facts, {
      direction: 'outbound',
      service: 'db',
      state: 'relaying',
      peer: spiffeId('db'),
      endpoint: formatAddress(pair.dbPublic),
      bytes_to_upstream: 12,
      bytes_to_downstream: 12,
    })
    assert.match(String(downstream), /^127\.0\.0\.1:\d+$/)
    assert.match(started_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    // A clock that is set back meanwhile is no failure of ours.
    assert.ok(Math.abs(Date.parse(started_at) - startedAt) < 60_000)
    assert.equal(inbound.direction, 'inbound')
    assert.equal(inbound.peer, spiffeId('web'))
    assert.equal(inbound.bytes_to_upstream, 12)

    await client.echoes(' and more')
    const [later] = await pair.web.json<Shown[]>('/sessions')
    assert.equal(later?.bytes_to_upstream, 21)
    assert.equal(later?.session, session)

    client.socket.end()
    const line = await pair.web.command.line('session ended')
    assert.match(line, new RegExp(` session=${session} .* bytes_to_upstream=21 bytes_to_downstream=21 `))
  })

  test('shows a session no more once it has ended', async t => {
    const pair = await startPair(t)
    const client = pair.connect()
    await client.echoes('hello')
    assert.equal((await pair.web.json<Shown[]>('/sessions')).length, 1)
    client.socket.end()
    await pair.web.command.line('session ended')
    assert.deepEqual(await pair.web.json('/sessions'), [])
  })
})

describe('/state', { concurrency: 2 }, () => {
  test('shows what is in use: generation, identity, listeners, allow, upstreams', async t => {
    const inbound = { ...inboundAt(await freePort()), allow: [spiffeId('api'), spiffeId('*')] }
    const upstream = upstreamTo(await freePort(), await freePort())
    const sidecar = await startSidecar(t, { inbound, upstreams: [upstream] })
    const state = await sidecar.json<Record<string, unknown>>('/state')
    assert.equal(state.ready, true)
    assert.deepEqual(state.missing, [])
    assert.equal(state.data_plane, planeOf('dialing').dataPlane)
    assert.equal(state.generation, 1)
    assert.equal(state.service, 'web')
    assert.deepEqual(state.inbound, inbound)
    assert.deepEqual(state.upstreams, [
      {
        destination_name: 'db',
        local_bind: `127.0.0.1:${upstream.local_bind_port}`,
        endpoints: upstream.endpoints.map(address => ({ address, expect: upstream.expect, weight: 1 })),
      },
    ])
    const listeners = state.listeners as { direction: string; service: string; address: string }[]
    assert.deepEqual(
      listeners.map(({ direction, service, address }) => `${direction} ${service} ${address}`).toSorted(),
      [`inbound web ${inbound.listen}`, `outbound db 127.0.0.1:${upstream.local_bind_port}`],
    )
    assert.equal((state.identity as { id: string }).id, spiffeId('web'))

    await sidecar.rewrite({ upstreams: [] })
    await sidecar.applied(2)
    const later = await sidecar.json<Record<string, unknown>>('/state')
    assert.equal(later.generation, 2)
    assert.deepEqual(later.upstreams, [])
  })

  test('names the listener that has no port, and why', async t => {
    const taken = await takePort(t)
    const sidecar = await launchSidecar(t, { inbound: inboundAt(taken.address) })
    await sidecar.command.line('not ready,')
    const state = await sidecar.json<{ ready: boolean; listeners: { error?: string }[] }>('/state')
    assert.equal(state.ready, false)
    assert.equal(state.listeners[0]?.error, 'EADDRINUSE')
  })
})

test('no path shows a key, a certificate or a line of one', async t => {
  const pair = await startPair(t)
  await pair.connect().echoes('hello')
  const secrets = [mesh.web.keyPem, mesh.web.certPem, mesh.root.certPem, mesh.root.keyPem]
    .flatMap(pem => pem.split('\n'))
    .filter(line => line.length >= 16 && !line.startsWith('-----'))
  assert.ok(secrets.length > 8, 'there is something to look for')
  for (const path of adminPaths) {
    const { status, body } = await pair.web.get(path)
    assert.equal(status, 200, path)
    assert.ok(!body.includes('-----BEGIN'), path)
    for (const secret of secrets) assert.ok(!body.includes(secret), path)
  }
})

describe('what there is not', { concurrency: 3 }, () => {
  test('is answered by 404, which names what there is', async t => {
    const sidecar = await startSidecar(t, {})
    const body = 'nothing at this path; there is /live, /ready, /metrics, /sessions, /state\n'
    for (const path of ['/', '/metric', '/state/', '/ready/x', '/../state'])
      assertText(await sidecar.get(path), 404, body)
    assertText(await sidecar.get('/ready?verbose=1'), 200, 'ready\n')
  })

  test('by method is answered by 405 and what is allowed', async t => {
    const sidecar = await startSidecar(t, {})
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const answer = await sidecar.get('/state', method)
      assertText(answer, 405, 'only GET is answered here\n')
      assert.equal(answer.headers.allow, 'GET, HEAD')
    }
  })

  test('HEAD is answered as GET is, without the body, and nothing may be kept by a cache', async t => {
    const sidecar = await startSidecar(t, {})
    for (const path of [...adminPaths, '/nothing']) {
      const got = await sidecar.get(path)
      const head = await sidecar.get(path, 'HEAD')
      assert.equal(head.status, got.status, path)
      assert.equal(got.headers['cache-control'], 'no-store', path)
      assert.equal(head.headers['content-type'], got.headers['content-type'], path)
      assert.ok(Number(head.headers['content-length']) > 0, path)
      assert.equal(head.body, '', path)
    }
  })
})

describe('--metrics', { concurrency: 2 }, () => {
  test('serves /live, /ready and /metrics alone', async t => {
    const metrics = await freePort()
    await startSidecar(t, {}, { args: ['--metrics', formatAddress(metrics)] })
    for (const path of metricsPaths) assert.equal((await ask(metrics, path)).status, 200, path)
    for (const path of ['/sessions', '/state']) {
      const body = 'nothing at this path; there is /live, /ready, /metrics\n'
      assertText(await ask(metrics, path), 404, body)
    }
  })

  test('stands beside --admin, which serves everything', async t => {
    const sidecar = await startSidecar(t, { metrics: formatAddress(await freePort()) })
    for (const path of adminPaths) assert.equal((await sidecar.get(path)).status, 200, path)
  })

  test('may be on every address', async t => {
    const { port } = await freePort('0.0.0.0')
    await startSidecar(t, { metrics: `0.0.0.0:${port}` })
    assert.equal((await ask({ host: '127.0.0.2', port }, '/metrics')).status, 200)
  })
})

test('without --admin and --metrics nothing is served', async t => {
  const unused = await freePort()
  const sidecar = await startSidecar(t, { admin: undefined })
  await assert.rejects(ask(sidecar.admin, '/live'), { code: 'ECONNREFUSED' })
  await assert.rejects(ask(unused, '/live'), { code: 'ECONNREFUSED' })
})

describe('an admin address beyond loopback', { concurrency: 2 }, () => {
  test('ends the start with 1 and says what would allow it', async t => {
    const { port } = await freePort('0.0.0.0')
    const { command, folder } = await launchSidecar(t, { admin: `0.0.0.0:${port}` })
    assert.deepEqual(await command.end(), { code: 1, signal: null })
    assert.equal(
      command.stderr,
      `${folder.file('sidecar.json')}: admin: got "0.0.0.0", expected a loopback address, or unsafe_admin (--unsafe-admin)\n`,
    )
    assert.equal(command.stdout, '')
  })

  test('is served with --unsafe-admin', async t => {
    const { port } = await freePort('0.0.0.0')
    await startSidecar(t, { admin: `0.0.0.0:${port}` }, { args: ['--unsafe-admin'] })
    for (const path of adminPaths)
      assert.equal((await ask({ host: '127.0.0.2', port }, path)).status, 200, path)
  })
})

describe('an address that is taken', { concurrency: 2 }, () => {
  for (const setting of ['admin', 'metrics']) {
    test(`for ${setting} ends the start with 2, one line says which and why, and no listener was opened`, async t => {
      const taken = await takePort(t)
      const at = formatAddress(taken.address)
      const { command } = await launchSidecar(t, {
        inbound: inboundAt(await freePort()),
        [setting]: at,
      })
      assert.deepEqual(await command.end(), { code: 2, signal: null })
      assert.equal(command.stderr, `sidesplice: ${setting}: can not listen on ${at}: EADDRINUSE\n`)
      assert.deepEqual(command.linesWith(' listening '), [])
    })
  }
})

test('a client that sends nothing does not keep others from being answered', async t => {
  const sidecar = await startSidecar(t, {})
  const silent = Array.from({ length: 16 }, () => net.connect(sidecar.admin))
  t.after(() => {
    for (const socket of silent) socket.destroy()
  })
  await eventually(async () => silent.every(socket => !socket.connecting), 'the connections')
  assert.equal((await sidecar.get('/live')).status, 200)
})

function assertText({ status, headers, body }: HttpAnswer, wanted: number, text: string): void {
  assert.deepEqual({ status, body }, { status: wanted, body: text })
  assert.equal(headers['content-type'], 'text/plain; charset=utf-8')
}

function inboundAt(listen: Address) {
  return { listen: formatAddress(listen), local_service_address: '127.0.0.1:9', allow: [] as string[] }
}

interface Taken {
  readonly address: Address
  readonly release: () => void
}

async function takePort(t: TestContext): Promise<Taken> {
  const address = await freePort()
  const server = net.createServer()
  await new Promise<void>(resolve => server.listen(address, resolve))
  const release = () => {
    server.close()
  }
  t.after(release)
  return { address, release }
}
