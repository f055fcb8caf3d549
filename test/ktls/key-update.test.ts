// A KeyUpdate in a kernel that can't exchange keys (before Linux 6.14): the session ends, says why, and costs no more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { sClient } from '../support/openssl.ts'
import { connectRecordPeer, openRecordServer } from '../support/record-peer.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const internalError = 80
const detail = "a KeyUpdate came, which this kernel's TLS can not do"

conformance('a KeyUpdate that the kernel can not follow', plane => {
  test('of a peer that dials us ends its session, behind the data before it', async t => {
    const rig = await openRig(t, plane)
    const peer = await connectRecordPeer(t, rig.publicAddress)
    const app = await rig.app.connection()
    peer.send(peer.data('before'), peer.keyUpdate(true), peer.data('behind'))
    assert.equal(await app.fails(), 'ECONNRESET')
    assert.equal(app.text, 'before')
    await peer.isOver()
    assert.deepEqual(peer.alerts, [internalError])
    const record = await rig.b.record()
    assert.equal(record.reason, 'key_update_unsupported')
    assert.equal(record.detail, detail)
  })

  test('of a peer that we dial ends its session', async t => {
    const rig = await openRig(t, plane)
    const server = await openRecordServer(t, () => {})
    rig.a.routes([endpoint(server.address)])
    const client = rig.connect()
    const peer = await until(() => server.peers[0], 'the session')
    peer.send(peer.data('before'))
    await client.gets('before')
    peer.send(peer.keyUpdate())
    assert.equal(await client.fails(), 'ECONNRESET')
    const record = await rig.a.record()
    assert.equal(record.reason, 'key_update_unsupported')
    assert.equal(record.detail, detail)
    assert.deepEqual(
      record.attempts.map(({ outcome }) => outcome),
      ['connected'],
    )
  })

  test('of openssl ends its session, and the sessions beside it live', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const beside = rig.connect()
    beside.send('beside')
    await beside.gets('beside')
    const client = sClient(t, rig.publicAddress, ['-tls1_3', '-msg'])
    await client.prints('Verify return code')
    client.send('K\n')
    await client.exit()
    assert.equal((await rig.b.record()).reason, 'key_update_unsupported')
    beside.send(' lives')
    await beside.gets('beside lives')
  })
})
