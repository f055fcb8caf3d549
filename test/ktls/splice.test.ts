// Inside a kernel that has TLS: the bulk of a stream goes from socket to socket without entering this process.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { accessFields } from '../../src/proxy/access-log.ts'
import { conformance } from '../support/data-planes.ts'
import { echo, sendMany } from '../support/ends.ts'
import { openRig } from '../support/rig.ts'
import type { Sidecar } from '../support/sidecar.ts'
import { until } from '../support/until.ts'

const megabyte = 1024 * 1024
const bulk = 50 * megabyte
// What is copied before a direction is known to be a bulk one, and at its end.
const copiedShare = 0.2

conformance('splicing', plane => {
  test('a bulk stream to upstream is spliced by both sidecars, and arrives as it was sent', async t => {
    const rig = await openRig(t, plane)
    const { client, server } = await rig.connected()
    const sent = await sendMany(client, bulk)
    client.socket.end()
    await server.ends()
    server.socket.end()
    await client.ends()
    assert.equal(server.received, bulk)
    assert.equal(server.digest(), sent)
    for (const sidecar of [rig.a, rig.b]) await isSpliced(t, sidecar)
  })

  test('a bulk stream to downstream is spliced by both sidecars, and arrives as it was sent', async t => {
    const rig = await openRig(t, plane)
    const { client, server } = await rig.connected()
    const sent = await sendMany(server, bulk)
    server.socket.end()
    await client.ends()
    client.socket.end()
    await server.ends()
    assert.equal(client.received, bulk)
    assert.equal(client.digest(), sent)
    for (const sidecar of [rig.a, rig.b]) await isSpliced(t, sidecar)
  })

  test('small messages are copied', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const client = rig.connect()
    for (let at = 1; at <= 100; at++) {
      client.send('a small message\n')
      await until(() => client.received >= at * 16, 'the echo')
    }
    client.socket.end()
    await client.ends()
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).splicedBytes, undefined)
  })
})

async function isSpliced(t: TestContext, sidecar: Sidecar): Promise<void> {
  const record = await sidecar.record()
  const { reason, splicedBytes = 0 } = record
  assert.equal(accessFields(record).spliced_bytes, splicedBytes)
  t.diagnostic(`${splicedBytes} of ${bulk} bytes were spliced`)
  assert.equal(reason, 'closed')
  assert.ok(splicedBytes >= bulk * (1 - copiedShare), `${splicedBytes} of ${bulk}`)
  assert.ok(splicedBytes <= bulk)
}
