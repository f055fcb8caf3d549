// What is counted: endpoints as policy chooses among them, sessions as both sidecars saw them, over IPv6 too.
import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { echo, freeAddress, openApp } from '../support/ends.ts'
import { spiffeId } from '../support/pki.ts'
import { endpoint, openRig, type Rig } from '../support/rig.ts'
import { until } from '../support/until.ts'

conformance('counters and records', plane => {
  const at = (rig: Rig) => rig.a.plane.counters().listeners.get('db')?.endpoints.get('db-1')

  test('an endpoint counts as open from its dialing to the end of its session', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const mute = await openApp(t)
    rig.a.routes([endpoint(mute.address)], { connectTimeoutMs: 10_000 })
    const first = rig.connect()
    await until(() => at(rig)?.dialing === 1, 'the dialing to be counted')
    assert.deepEqual([at(rig)?.open, at(rig)?.attempts], [1, 1])
    first.reset()
    await until(() => at(rig)?.dialing === 0, 'the dialing to be given up')
    assert.deepEqual([at(rig)?.open, at(rig)?.failures], [0, 0])

    rig.a.routes([endpoint(rig.publicAddress)])
    const second = rig.connect()
    await second.echoes('hello')
    assert.deepEqual([at(rig)?.open, at(rig)?.dialing, at(rig)?.attempts], [1, 0, 2])
    second.socket.end()
    await rig.a.isQuiet()
    assert.equal(at(rig)?.open, 0)
  })

  test('failures in a row count up, and the first byte back ends the row', async t => {
    const rig = await openRig(t, plane)
    rig.a.routes([endpoint(await freeAddress())])
    for (const failures of [1, 2]) {
      const before = performance.now()
      await rig.connect().fails()
      await until(() => at(rig)?.failures === failures, 'the failure to be counted')
      assert.equal(at(rig)?.consecutiveFailures, failures)
      assert.ok((at(rig)?.lastFailureAt ?? 0) >= before - 1)
    }
    rig.a.routes([endpoint(rig.publicAddress)])
    const { client, server } = await rig.connected()
    client.send('hello')
    await server.gets('hello')
    assert.equal(at(rig)?.consecutiveFailures, 2, 'a handshake and a byte sent are no sign of health yet')
    server.send('x')
    await client.gets('x')
    assert.deepEqual([at(rig)?.consecutiveFailures, at(rig)?.failures], [0, 2])
  })

  test('an abort by the app is no failure of the endpoint', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client } = await rig.connected()
    await client.echoes('hello')
    client.reset()
    await rig.a.record()
    assert.equal(at(rig)?.failures, 0)
  })

  test('both sidecars record the same bytes, and who was at the other end', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const client = rig.connect()
    await client.echoes('x'.repeat(40_000))
    client.socket.end()
    await client.ends()
    const [a, b] = [await rig.a.record(), await rig.b.record()]
    for (const record of [a, b]) {
      assert.equal(record.reason, 'closed')
      assert.equal(record.relayed, true)
      assert.deepEqual([record.bytesToUpstream, record.bytesToDownstream], [40_000, 40_000])
      assert.equal(record.tlsVersion, 'TLSv1.3')
      assert.match(record.cipher ?? '', /^TLS_/)
      for (const ms of [record.policyMs, record.connectMs, record.handshakeMs, record.durationMs]) {
        assert.ok(ms !== undefined && ms >= 0 && ms < 60_000)
      }
      assert.ok(Math.abs(record.startedAt - Date.now()) < 60_000)
    }
    assert.deepEqual(
      [a.direction, a.listener, a.peer, a.endpoint],
      ['outbound', 'db', spiffeId('db'), 'db-1'],
    )
    assert.deepEqual(
      [b.direction, b.listener, b.peer, b.endpoint],
      ['inbound', 'public', spiffeId('web'), undefined],
    )
    assert.match(a.downstream ?? '', /^127\.0\.0\.1:\d+$/)
  })

  test('both legs work over IPv6', async t => {
    const has6 = Object.values(networkInterfaces()).some(all => all?.some(({ address }) => address === '::1'))
    assert.ok(has6, 'this machine has no ::1, which the test needs')
    const rig = await openRig(t, plane, { serve: echo, host: '::1' })
    const client = rig.connect()
    await client.echoes('hello')
    client.socket.end()
    await client.ends()
    const record = await rig.a.record()
    assert.equal(record.reason, 'closed')
    assert.match(record.downstream ?? '', /^\[::1\]:\d+$/)
  })

  test('an endpoint may be named by a host name', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    rig.a.routes([endpoint({ host: 'localhost', port: rig.publicAddress.port })])
    await rig.connect().echoes('hello')
  })
})
