// Ending sessions from outside: at once, wherever they are on their way, with an error at both ends.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openBlackHole } from '../support/black-hole.ts'
import { conformance, maybeClosed } from '../support/data-planes.ts'
import { connect, echo } from '../support/ends.ts'
import { mesh } from '../support/pki.ts'
import { endpoint, openRig } from '../support/rig.ts'
import type { Sidecar } from '../support/sidecar.ts'
import { tlsConnect } from '../support/tls-peers.ts'

conformance('terminate', plane => {
  async function isTerminated(sidecar: Sidecar, session: { readonly id: number }): Promise<void> {
    assert.equal(sidecar.plane.terminate([session.id], 'no_longer_allowed'), 1)
    const record = await sidecar.record()
    assert.equal(record.id, session.id)
    assert.equal(record.reason, 'no_longer_allowed')
    assert.deepEqual(sidecar.plane.sessions(), [])
    assert.equal(sidecar.plane.terminate([session.id], 'no_longer_allowed'), 0)
  }

  for (const which of ['a', 'b'] as const) {
    test(`a session that relays ends with an error at both apps (at ${which === 'a' ? 'the dialing' : 'the dialed'} sidecar)`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      const { client, server } = await rig.connected()
      await client.echoes('hello')
      await isTerminated(rig[which], await rig[which].session('relaying'))
      assert.equal(await client.fails(), 'ECONNRESET')
      assert.equal(await server.fails(), 'ECONNRESET')
    })
  }

  test('only the named sessions end', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const first = await rig.connected()
    await first.client.echoes('one')
    const doomed = await rig.b.session('relaying')
    const second = await rig.connected()
    await second.client.echoes('two')
    assert.equal(rig.b.plane.terminate([doomed.id, 987_654], 'no_longer_allowed'), 1)
    await first.client.fails()
    await second.client.echoes(' and on')
  })

  test('a session whose peer is shaking hands ends', async t => {
    const rig = await openRig(t, plane)
    const peer = connect(t, rig.publicAddress)
    await isTerminated(rig.b, await rig.b.session('handshaking'))
    await peer.isOver()
  })

  test('a session that waits for admission ends, and the app never sees it', async t => {
    const rig = await openRig(t, plane)
    let admit = () => {}
    rig.b.admit = (question, answer) => {
      admit = () =>
        answer({
          session: question.session,
          generation: 1,
          admitted: true,
          peer: '',
          target: rig.app.address,
          connectTimeoutMs: 1_000,
        })
    }
    const peer = tlsConnect(t, rig.publicAddress, { certificate: mesh.web, root: mesh.root })
    await isTerminated(rig.b, await rig.b.session('deciding'))
    admit()
    await peer.isOver()
    assert.equal(rig.app.connections.length, 0)
  })

  test('a session that waits for a route ends with an error at the app', async t => {
    const rig = await openRig(t, plane)
    rig.a.route = () => {}
    const client = rig.connect()
    await isTerminated(rig.a, await rig.a.session('deciding'))
    assert.equal(await client.fails(), 'ECONNRESET')
  })

  test('a session that dials an endpoint ends with an error at the app', async t => {
    const rig = await openRig(t, plane)
    rig.a.routes([endpoint(await openBlackHole(t))])
    const client = rig.connect()
    const session = await rig.a.session('dialing')
    assert.equal(session.endpoint, 'db-1')
    await isTerminated(rig.a, session)
    assert.equal(await client.fails(), 'ECONNRESET')
    assert.deepEqual(
      rig.a.records[0]?.attempts.map(({ outcome }) => outcome),
      ['cancelled'],
    )
    assert.equal(rig.a.plane.counters().listeners.get('db')?.endpoints.get('db-1')?.failures, 0)
  })

  test('a session that dials the local app ends with an error at the peer', async t => {
    const rig = await openRig(t, maybeClosed(plane))
    rig.b.admits(await openBlackHole(t))
    const client = rig.connect()
    client.send('hello')
    await isTerminated(rig.b, await rig.b.session('dialing'))
    assert.equal(await client.fails(), 'ECONNRESET')
  })
})
