// A TLS stream that is cut without close_notify: an error at the app where the data plane can tell, else what it declares.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance, maybeClosed } from '../support/data-planes.ts'
import { openMiddle } from '../support/middle.ts'
import { endpoint, openRig } from '../support/rig.ts'

conformance('truncation', plane => {
  test('a stream cut without close_notify is an error at both apps, or declared not to be told from an end', async t => {
    const rig = await openRig(t, maybeClosed(plane), {
      serve: ({ socket }) => socket.once('data', () => socket.write('half an ans')),
    })
    const middle = await openMiddle(t, rig.publicAddress)
    rig.a.routes([endpoint(middle.address)])
    const { client, server } = await rig.connected()
    client.send('question')
    await client.gets('half an ans')
    middle.cut(middle.crossings[0], 'fin')
    if (rig.a.plane.capabilities.truncation) {
      assert.equal(await client.fails(), 'ECONNRESET')
      assert.equal(await server.fails(), 'ECONNRESET')
      assert.equal((await rig.a.record()).reason, 'upstream_truncated')
      assert.equal((await rig.b.record()).reason, 'downstream_truncated')
      return
    }
    await client.ends()
    await server.ends()
    client.socket.end()
    server.socket.end()
    await rig.a.isQuiet()
    await rig.b.isQuiet()
    assert.equal(client.text, 'half an ans')
  })

  test('a stream that ends by close_notify is a clean end', async t => {
    const rig = await openRig(t, maybeClosed(plane), { serve: ({ socket }) => socket.end('an answer') })
    const middle = await openMiddle(t, rig.publicAddress)
    rig.a.routes([endpoint(middle.address)])
    const { client } = await rig.connected()
    await client.ends()
    client.socket.end()
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).reason, 'closed')
  })

  test('a cut before the first byte is an error at the downstream app, never an empty answer', async t => {
    const rig = await openRig(t, maybeClosed(plane))
    const middle = await openMiddle(t, rig.publicAddress)
    rig.a.routes([endpoint(middle.address)])
    const { client } = await rig.connected()
    middle.cut(middle.crossings[0], 'fin')
    assert.equal(await client.fails(), 'ECONNRESET')
    const record = await rig.a.record()
    assert.equal(record.reason, 'connect_failed')
    assert.deepEqual(
      record.attempts.map(({ outcome }) => outcome),
      ['closed_before_first_byte'],
    )
  })
})
