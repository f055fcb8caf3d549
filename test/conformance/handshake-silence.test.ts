// A peer that does not finish its handshake holds a connection for the handshake's time limit and no longer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { mesh } from '../support/pki.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { tlsConnect } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'

const handshakeTimeoutMs = 300
// The first bytes of a ClientHello: a record header that promises more than comes (RFC 8446 section 5.1).
const halfClientHello = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03])

conformance('handshake silence', plane => {
  for (const [who, bytes] of [
    ['a peer that sends nothing', undefined],
    ['a peer that sends half a ClientHello', halfClientHello],
  ] as const) {
    test(`${who} is closed at the time limit`, async t => {
      const rig = await openRig(t, plane, { inbound: { handshakeTimeoutMs } })
      const peer = connect(t, rig.publicAddress)
      if (bytes !== undefined) peer.send(bytes)
      const begun = performance.now()
      const session = await rig.b.session('handshaking')
      await peer.isOver()
      const took = performance.now() - begun
      assert.ok(took >= handshakeTimeoutMs * 0.8, `closed after ${took} ms`)
      const record = await rig.b.record()
      assert.equal(record.id, session.id)
      assert.equal(record.reason, 'handshake_timeout')
      assert.equal(record.relayed, false)
      assert.equal(rig.app.connections.length, 0)
      assert.equal(rig.b.admitQuestions.length, 0)
    })
  }

  test('a peer that finished its handshake in time may be silent for longer', async t => {
    const rig = await openRig(t, plane, { serve: echo, inbound: { handshakeTimeoutMs } })
    const silent = connect(t, rig.publicAddress)
    const peer = tlsConnect(t, rig.publicAddress, { certificate: mesh.web, root: mesh.root })
    await rig.b.session('relaying')
    await silent.isOver()
    const later = connect(t, rig.publicAddress)
    await later.isOver()
    await peer.echoes('still here')
  })

  test('a peer that closes before its first byte is no failure', async t => {
    const rig = await openRig(t, plane, { inbound: { handshakeTimeoutMs } })
    const peer = connect(t, rig.publicAddress)
    peer.socket.end()
    await peer.isOver()
    assert.equal((await rig.b.record()).reason, 'closed_before_first_byte')
    assert.equal(rig.app.connections.length, 0)
  })

  test('bytes that are no TLS fail at once', async t => {
    const rig = await openRig(t, plane)
    const peer = connect(t, rig.publicAddress)
    peer.send('GET / HTTP/1.1\r\nHost: db\r\n\r\n')
    await peer.isOver()
    assert.equal((await rig.b.record()).reason, 'handshake_failed')
    assert.equal(rig.app.connections.length, 0)
  })

  test('an endpoint that never answers the handshake has its own time, then the next is tried', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const mute = await openApp(t)
    rig.a.routes([
      endpoint(mute.address, { endpoint: 'mute', timeLimitMs: handshakeTimeoutMs }),
      endpoint(rig.publicAddress, { endpoint: 'db-1' }),
    ])
    const client = rig.connect()
    await client.echoes('hello')
    client.socket.end()
    const record = await rig.a.record()
    assert.equal(record.reason, 'closed')
    assert.deepEqual(
      record.attempts.map(({ endpoint, outcome }) => [endpoint, outcome]),
      [
        ['mute', 'handshake_timeout'],
        ['db-1', 'connected'],
      ],
    )
    await until(
      () => mute.connections[0]?.closed || mute.connections[0]?.ended,
      'the mute endpoint to be left',
    )
  })

  test('an endpoint alone that never answers the handshake costs connectTimeoutMs', async t => {
    const rig = await openRig(t, plane)
    const mute = await openApp(t)
    rig.a.routes([endpoint(mute.address)], { connectTimeoutMs: handshakeTimeoutMs })
    const client = rig.connect()
    await client.fails()
    const record = await rig.a.record()
    assert.equal(record.reason, 'connect_timeout')
    assert.equal(record.attempts[0]?.outcome, 'handshake_timeout')
  })
})
