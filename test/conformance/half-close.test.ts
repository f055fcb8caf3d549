// Each direction closes by itself: a FIN on one leg is a close_notify on the next, and the other direction goes on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance, maybeClosed } from '../support/data-planes.ts'
import { sendMany } from '../support/ends.ts'
import { openRig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const megabyte = 1024 * 1024

conformance('half-close', plane => {
  test('the downstream app closes first and still receives', async t => {
    const rig = await openRig(t, maybeClosed(plane))
    const { client, server } = await rig.connected()
    client.send('question')
    client.socket.end()
    await server.ends()
    assert.equal(server.text, 'question')
    const digest = await sendMany(server, 4 * megabyte)
    await until(() => client.received === 4 * megabyte, 'the answer')
    assert.equal(client.ended, false)
    server.socket.end()
    await client.ends()
    assert.equal(client.digest(), digest)
    for (const sidecar of [rig.a, rig.b]) {
      const record = await sidecar.record()
      assert.equal(record.reason, 'closed')
      assert.equal(record.bytesToUpstream, 8)
      assert.equal(record.bytesToDownstream, 4 * megabyte)
    }
  })

  test('the upstream app closes first and still receives', async t => {
    const rig = await openRig(t, maybeClosed(plane), { serve: ({ socket }) => socket.end('bye') })
    const { client, server } = await rig.connected()
    await client.ends()
    assert.equal(client.text, 'bye')
    const digest = await sendMany(client, 4 * megabyte)
    await until(() => server.received === 4 * megabyte, 'the upload')
    assert.equal(server.ended, false)
    client.socket.end()
    await server.ends()
    assert.equal(server.digest(), digest)
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).reason, 'closed')
  })

  test('both apps close at once, behind data of each, and nothing is lost', async t => {
    const rig = await openRig(t, maybeClosed(plane), {
      serve: ({ socket }) => socket.end(Buffer.alloc(megabyte, 's')),
    })
    const client = rig.connect()
    client.socket.end(Buffer.alloc(megabyte, 'c'))
    await client.ends()
    const server = await rig.app.connection()
    await server.ends()
    assert.equal(client.received, megabyte)
    assert.equal(server.received, megabyte)
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).reason, 'closed')
  })

  test('a direction that nobody closes stays open', async t => {
    const rig = await openRig(t, maybeClosed(plane), {
      serve: ({ socket }) => socket.on('data', data => socket.write(data)),
    })
    const { client, server } = await rig.connected()
    await client.echoes('one')
    await client.echoes('two')
    assert.equal(client.ended, false)
    assert.equal(server.ended, false)
    assert.equal(rig.a.plane.sessions().length, 1)
    assert.equal(rig.b.plane.sessions().length, 1)
  })
})
