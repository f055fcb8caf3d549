// What a server's first word after the handshake means: a cut is another endpoint's chance, an alert is a refusal, and nothing
// is tried again once a byte went out.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Address } from '../../src/address.ts'
import { openAlertingServer } from '../support/alert.ts'
import { conformance, maybeClosed } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { sServer } from '../support/openssl.ts'
import { issueRoot, mesh } from '../support/pki.ts'
import { endpoint, openRig, type Rig } from '../support/rig.ts'
import { openTlsServer } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'

conformance('the first word', plane => {
  function first(address: Address, rig: Rig): void {
    rig.a.routes([
      endpoint(address, { endpoint: 'first' }),
      endpoint(rig.publicAddress, { endpoint: 'second' }),
    ])
  }
  const counters = (rig: Rig) => rig.a.plane.counters().listeners.get('db')?.endpoints.get('first')

  test('an endpoint that is cut behind its handshake gives way to the next', async t => {
    const rig = await openRig(t, maybeClosed(plane), { serve: echo })
    const cut = await openTlsServer(t, {
      certificate: mesh.db,
      root: mesh.root,
      serve: () => {
        for (const socket of cut.accepted) socket.destroy()
      },
    })
    first(cut.address, rig)
    const client = rig.connect()
    const server = await rig.app.connection()
    client.send('hello')
    await server.gets('hello')
    client.socket.end()
    await client.ends()
    const record = await rig.a.record()
    assert.deepEqual(
      record.attempts.map(({ endpoint, outcome }) => [endpoint, outcome]),
      [
        ['first', 'closed_before_first_byte'],
        ['second', 'connected'],
      ],
    )
    assert.equal(record.endpoint, 'second')
    assert.equal(counters(rig)?.consecutiveFailures, 1)
  })

  test('an endpoint that is cut behind the first byte is not replaced', async t => {
    const rig = await openRig(t, maybeClosed(plane), { serve: echo })
    const cut = await openTlsServer(t, {
      certificate: mesh.db,
      root: mesh.root,
      serve: end => {
        void until(() => end.received > 0, 'a byte').then(() => {
          for (const socket of cut.accepted) socket.resetAndDestroy()
        })
      },
    })
    first(cut.address, rig)
    const client = rig.connect()
    client.send('hello')
    assert.equal(await client.fails(), 'ECONNRESET')
    const record = await rig.a.record()
    assert.equal(record.reason, 'upstream_reset')
    assert.equal(record.attempts.length, 1)
    assert.equal(record.bytesToUpstream, 5)
    assert.equal(rig.app.connections.length, 0)
  })

  for (const alert of ['access_denied', 'certificate_unknown', 'unknown_ca'] as const) {
    test(`the alert ${alert} is a refusal by the peer, and no mark against it`, async t => {
      const rig = await openRig(t, maybeClosed(plane))
      rig.a.routes([endpoint(await openAlertingServer(t, { alert }), { endpoint: 'first' })])
      assert.equal(await rig.connect().fails(), 'ECONNRESET')
      const record = await rig.a.record()
      assert.equal(record.reason, 'denied_by_peer', record.detail)
      assert.deepEqual(
        record.attempts.map(({ outcome, detail }) => [outcome, detail]),
        [['denied_by_peer', `alert ${alert}`]],
      )
      assert.equal(counters(rig)?.failures, 0)
    })
  }

  test('a refusal behind the first byte is not tried elsewhere, and no mark against the peer', async t => {
    const rig = await openRig(t, maybeClosed(plane), { serve: echo })
    first(await openAlertingServer(t, { alert: 'access_denied', afterByte: true }), rig)
    const client = rig.connect()
    client.send('hello')
    assert.equal(await client.fails(), 'ECONNRESET')
    const record = await rig.a.record()
    assert.equal(record.reason, 'denied_by_peer')
    assert.equal(record.attempts.length, 1)
    assert.equal(counters(rig)?.failures, 0)
    assert.equal(rig.app.connections.length, 0)
  })

  test('the alert internal_error is an app that the peer could not reach, a mark against it, and tried elsewhere', async t => {
    const rig = await openRig(t, maybeClosed(plane), { serve: echo })
    first(await openAlertingServer(t, { alert: 'internal_error' }), rig)
    const client = rig.connect()
    await rig.app.connection()
    await client.echoes('hello')
    assert.equal(counters(rig)?.consecutiveFailures, 1)
    client.socket.end()
    assert.deepEqual(
      (await rig.a.record()).attempts.map(({ outcome }) => outcome),
      ['peer_app_unreachable', 'connected'],
    )
  })

  test('the alert internal_error from the only endpoint ends the session by its name', async t => {
    const rig = await openRig(t, maybeClosed(plane))
    rig.a.routes([endpoint(await openAlertingServer(t, { alert: 'internal_error' }), { endpoint: 'first' })])
    assert.equal(await rig.connect().fails(), 'ECONNRESET')
    assert.equal((await rig.a.record()).reason, 'peer_app_unreachable')
  })

  for (const [flag, version] of [
    ['-tls1_2', 'TLS 1.2'],
    ['-tls1_3', 'TLS 1.3'],
  ] as const) {
    test(`a ${version} server that trusts another CA denies us, and no mark against it`, async t => {
      const rig = await openRig(t, maybeClosed(plane))
      const args = [flag, '-Verify', '1', '-verify_return_error', '-no-CApath', '-no-CAstore']
      const { address } = await sServer(t, args, { root: await issueRoot('foreign') })
      rig.a.routes([endpoint(address, { endpoint: 'first' })])
      assert.equal(await rig.connect().fails(), 'ECONNRESET')
      const record = await rig.a.record()
      assert.equal(record.reason, 'denied_by_peer')
      assert.equal(counters(rig)?.attempts, 1)
      assert.equal(counters(rig)?.failures, 0)
    })
  }

  test('a session that both apps close without a byte is named so', async t => {
    const rig = await openRig(t, maybeClosed(plane), {
      serve: ({ socket }) => socket.resume().on('end', () => socket.end()),
    })
    const client = rig.connect()
    client.socket.end()
    await client.ends()
    assert.equal((await rig.a.record()).reason, 'closed_before_first_byte')
    assert.equal((await rig.b.record()).reason, 'closed_before_first_byte')
    assert.equal(rig.a.plane.counters().listeners.get('db')?.endpoints.get('db-1')?.failures, 0)
  })
})
