// A thousand sessions at once: all of them talk, and every count agrees with every other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const sessions = 1_000
const patienceMs = 30_000
const patient = { handshakeTimeoutMs: patienceMs, policyTimeoutMs: patienceMs, maxWaiting: 2 * sessions }

conformance('many sessions', plane => {
  test('a thousand at once exchange data, and the counts agree', async t => {
    const rig = await openRig(t, plane, { serve: echo, outbound: patient, inbound: patient })
    rig.a.routes([endpoint(rig.publicAddress, { timeLimitMs: patienceMs })], { connectTimeoutMs: patienceMs })
    const clients = Array.from({ length: sessions }, () => rig.connect())
    const words = clients.map((_, at) => `session ${at}`)
    for (const [at, client] of clients.entries()) client.send(words[at] ?? '')
    const received = () => clients.reduce((sum, client) => sum + client.received, 0)
    const bytes = words.join('').length
    await until(() => received() >= bytes, 'every word to come back', patienceMs)
    assert.deepEqual(
      clients.map(({ text }) => text),
      words,
    )

    for (const [sidecar, key] of [
      [rig.a, 'db'],
      [rig.b, 'public'],
    ] as const) {
      const views = sidecar.plane.sessions()
      assert.equal(views.length, sessions)
      assert.equal(new Set(views.map(({ id }) => id)).size, sessions)
      assert.ok(views.every(({ state }) => state === 'relaying'))
      const counters = sidecar.plane.counters().listeners.get(key)
      assert.equal(counters?.accepted, sessions)
      assert.equal(counters?.open, sessions)
      assert.equal(counters?.waiting, 0)
      assert.equal(counters?.bytesToUpstream, bytes)
      assert.equal(counters?.bytesToDownstream, bytes)
      assert.equal(
        views.reduce((sum, { bytesToUpstream }) => sum + bytesToUpstream, 0),
        bytes,
      )
    }
    assert.equal(rig.a.plane.counters().listeners.get('db')?.endpoints.get('db-1')?.open, sessions)

    for (const client of clients) client.socket.end()
    await until(() => clients.every(({ ended }) => ended), 'every session to end', patienceMs)
    await rig.a.isQuiet()
    await rig.b.isQuiet()
    for (const { records } of [rig.a, rig.b]) {
      assert.equal(records.length, sessions)
      assert.ok(records.every(({ reason }) => reason === 'closed'))
    }
    const moved = (records: typeof rig.a.records) =>
      records
        .map(({ bytesToUpstream, bytesToDownstream }) => `${bytesToUpstream} ${bytesToDownstream}`)
        .sort()
    assert.deepEqual(moved(rig.a.records), moved(rig.b.records))
    assert.equal(rig.a.plane.counters().listeners.get('db')?.open, 0)
    assert.equal(rig.b.plane.counters().listeners.get('public')?.open, 0)
  })
})
