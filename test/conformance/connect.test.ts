// Reaching an endpoint: one that refuses, one that never answers, and the next in the plan.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openBlackHole } from '../support/black-hole.ts'
import { conformance } from '../support/data-planes.ts'
import { connect, echo, freeAddress } from '../support/ends.ts'
import { endpoint, openRig } from '../support/rig.ts'

const connectTimeoutMs = 300

conformance('connecting', plane => {
  test('a black hole alone is given up on time', async t => {
    const rig = await openRig(t, plane)
    rig.a.routes([endpoint(await openBlackHole(t))], { connectTimeoutMs })
    const client = rig.connect()
    assert.equal(await client.fails(), 'ECONNRESET')
    const record = await rig.a.record()
    assert.equal(record.reason, 'connect_timeout')
    assert.equal(record.attempts[0]?.outcome, 'connect_timeout')
    assert.ok(record.durationMs >= connectTimeoutMs * 0.9, `after ${record.durationMs} ms`)
    assert.ok(record.durationMs < connectTimeoutMs * 10, `after ${record.durationMs} ms`)
  })

  test('beside a black hole every connection reaches the live endpoint', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const blackHole = await openBlackHole(t)
    rig.a.routes([
      endpoint(blackHole, { endpoint: 'black-hole', timeLimitMs: 100 }),
      endpoint(rig.publicAddress, { endpoint: 'live' }),
    ])
    const clients = Array.from({ length: 10 }, () => rig.connect())
    await Promise.all(clients.map((client, at) => client.echoes(`number ${at}`)))
    const counters = rig.a.plane.counters().listeners.get('db')?.endpoints
    assert.equal(counters?.get('black-hole')?.failures, 10)
    assert.equal(counters?.get('live')?.open, 10)
  })

  for (const [host, name] of [
    ['127.0.0.1', '127.0.0.1'],
    ['127.0.0.1', 'localhost'],
    ['0.0.0.0', '127.0.0.2'],
    ['::', '127.0.0.1'],
  ] as const) {
    test(`an endpoint ${name} that is our own upstream listener at ${host} does not go round in a circle`, async t => {
      const rig = await openRig(t, plane, { outbound: { bind: { host, port: 0 } } })
      const own = endpoint({ host: name, port: rig.address.port }, { timeLimitMs: 10_000 })
      rig.a.routes([own], { connectTimeoutMs: 10_000 })
      const client = connect(t, { host: '127.0.0.1', port: rig.address.port })
      assert.equal(await client.fails(), 'ECONNRESET')
      await rig.a.isQuiet()
      const accepted = rig.a.plane.counters().listeners.get('db')?.accepted
      assert.ok(accepted !== undefined && accepted <= 3, `${accepted} connections`)
      assert.ok(
        rig.a.records.some(({ detail }) => /^opened by this sidecar itself/.test(detail ?? '')),
        'one of them is told',
      )
    })
  }

  test('the last endpoint has all the time that is left, each before it its own limit', async t => {
    const rig = await openRig(t, plane)
    const blackHole = await openBlackHole(t)
    const timeLimitMs = 200
    rig.a.routes(
      ['first', 'last'].map(name => endpoint(blackHole, { endpoint: name, timeLimitMs })),
      { connectTimeoutMs: 1_000 },
    )
    assert.equal(await rig.connect().fails(), 'ECONNRESET')
    const { attempts, reason } = await rig.a.record()
    assert.equal(reason, 'connect_timeout')
    assert.deepEqual(
      attempts.map(({ outcome }) => outcome),
      ['connect_timeout', 'connect_timeout'],
    )
    const [first, last] = attempts.map(({ connectMs }) => connectMs ?? 0)
    assert.ok(
      first !== undefined && first >= timeLimitMs * 0.9 && first < timeLimitMs * 3,
      `the first had ${first} ms`,
    )
    assert.ok(last !== undefined && last >= timeLimitMs * 2, `the last had ${last} ms`)
  })

  test('an endpoint that refuses is passed over at once', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    rig.a.routes([
      endpoint(await freeAddress(), { endpoint: 'down' }),
      endpoint(rig.publicAddress, { endpoint: 'live' }),
    ])
    const client = rig.connect()
    await client.echoes('hello')
    client.socket.end()
    const record = await rig.a.record()
    assert.deepEqual(
      record.attempts.map(({ endpoint, outcome, detail }) => [endpoint, outcome, detail]),
      [
        ['down', 'connect_failed', 'ECONNREFUSED'],
        ['live', 'connected', undefined],
      ],
    )
    assert.equal(record.endpoint, 'live')
  })

  test('endpoints that all refuse are an error at the app', async t => {
    const rig = await openRig(t, plane)
    rig.a.routes([
      endpoint(await freeAddress(), { endpoint: 'one' }),
      endpoint(await freeAddress(), { endpoint: 'two' }),
    ])
    assert.equal(await rig.connect().fails(), 'ECONNRESET')
    const record = await rig.a.record()
    assert.equal(record.reason, 'connect_failed')
    assert.equal(record.attempts.length, 2)
  })

  test('what the app sent while an endpoint was sought arrives', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    rig.a.routes([
      endpoint(await openBlackHole(t), { endpoint: 'black-hole', timeLimitMs: 100 }),
      endpoint(rig.publicAddress, { endpoint: 'live' }),
    ])
    const client = rig.connect()
    client.socket.end('all that there is')
    await client.ends()
    assert.equal(client.text, 'all that there is')
  })

  test('an app that goes while an endpoint is sought ends the session', async t => {
    const rig = await openRig(t, plane)
    rig.a.routes([endpoint(await openBlackHole(t))], { connectTimeoutMs: 10_000 })
    const client = rig.connect()
    client.send('hello')
    await rig.a.session('dialing')
    client.reset()
    assert.equal((await rig.a.record()).reason, 'downstream_reset')
  })

  test('an app that goes by a reset without having sent a byte is a health check', async t => {
    const rig = await openRig(t, plane)
    rig.a.routes([endpoint(await openBlackHole(t))], { connectTimeoutMs: 10_000 })
    const client = rig.connect()
    await rig.a.session('dialing')
    client.reset()
    assert.equal((await rig.a.record()).reason, 'closed_before_first_byte')
  })

  test('a local app that is down is an error at the peer', async t => {
    const rig = await openRig(t, plane)
    rig.b.admits(await freeAddress())
    const client = rig.connect()
    client.send('hello')
    assert.equal(await client.fails(), 'ECONNRESET')
    assert.equal((await rig.b.record()).reason, 'local_app_unreachable')
    if (rig.b.plane.capabilities.alerts) assert.equal((await rig.a.record()).reason, 'peer_app_unreachable')
  })

  test('a local app that never answers is given up on time', async t => {
    const rig = await openRig(t, plane)
    rig.b.admits(await openBlackHole(t), { connectTimeoutMs })
    const client = rig.connect()
    client.send('hello')
    await client.fails()
    const record = await rig.b.record()
    assert.equal(record.reason, 'local_app_unreachable')
    assert.ok(record.durationMs >= connectTimeoutMs * 0.9, `after ${record.durationMs} ms`)
  })
})
