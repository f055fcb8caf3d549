// Every byte arrives, in order, whichever way and however much.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { echo, sendMany } from '../support/ends.ts'
import { openRig } from '../support/rig.ts'

const megabyte = 1024 * 1024
const bulk = 200 * megabyte

conformance('bulk', plane => {
  test('200 MB to upstream arrive as they were sent', async t => {
    const rig = await openRig(t, plane)
    const { client, server } = await rig.connected()
    const sent = await sendMany(client, bulk)
    client.socket.end()
    await server.ends()
    server.socket.end()
    await client.ends()
    assert.equal(server.received, bulk)
    assert.equal(server.digest(), sent)
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).bytesToUpstream, bulk)
  })

  test('200 MB to downstream arrive as they were sent', async t => {
    const rig = await openRig(t, plane)
    const { client, server } = await rig.connected()
    const sent = await sendMany(server, bulk)
    server.socket.end()
    await client.ends()
    client.socket.end()
    await server.ends()
    assert.equal(client.received, bulk)
    assert.equal(client.digest(), sent)
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).bytesToDownstream, bulk)
  })

  test('50 MB each way at once arrive as they were sent', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const client = rig.connect()
    const sent = await sendMany(client, 50 * megabyte)
    client.socket.end()
    await client.ends()
    assert.equal(client.received, 50 * megabyte)
    assert.equal(client.digest(), sent)
  })
})
