// The cap on what all sessions own together: readers that stop and peers that stop inside a record, more of them than it has room for. It
// holds, nobody else is harmed, and all of them go on when they go on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { native } from '../support/data-planes.ts'
import { type End, echo } from '../support/ends.ts'
import { connectRecordPeer } from '../support/record-peer.ts'
import { openRig } from '../support/rig.ts'
import { settled, until } from '../support/until.ts'

const megabyte = 1024 * 1024
const bufferMemory = 8 * megabyte
const patient = { handshakeTimeoutMs: 60_000, halfCloseTimeoutMs: 60_000 }
// Each would keep a batch of records at either sidecar, and more than the kernel's queues on the way take is sent to it.
const readers = 48
const large = Buffer.alloc(16 * megabyte, 'x')
// Nearly a whole record of each would be kept.
const peers = 1_000
const payload = 'y'.repeat(16_000)

native('buffer memory', plane => {
  const owned = (sidecar: { readonly plane: { counters(): { readonly bufferBytes?: number } } }) =>
    sidecar.plane.counters().bufferBytes ?? assert.fail('it does not tell')

  test('is bounded for readers that stop, nobody else is harmed, and each gets all of it', async t => {
    const rig = await openRig(t, plane, {
      outbound: patient,
      inbound: patient,
      bufferMemory,
      serve: end => {
        end.socket.on('data', word => end.socket.write(word.toString() === 'much' ? large : word))
      },
    })
    let most = 0
    const looks = setInterval(() => {
      most = Math.max(most, owned(rig.a), owned(rig.b))
    }, 1)
    t.after(() => clearInterval(looks))
    const clients: End[] = []
    for (let at = 0; at < readers; at++) {
      const client = rig.connect()
      client.socket.pause()
      client.send('much')
      clients.push(client)
    }
    const counted = () => rig.a.plane.sessions().filter(session => session.bytesToDownstream > 0).length
    await until(() => counted() === readers, 'all to be served')
    const taken = () => rig.a.plane.counters().listeners.get('db')?.bytesToDownstream ?? 0
    await settled(taken, 'what is taken')
    assert.ok(most > bufferMemory / 4, `${most} bytes: nobody stopped`)
    const other = rig.connect()
    for (let at = 0; at < 20; at++) await other.echoes(`unharmed ${at}.`)
    for (const client of clients) client.socket.resume()
    await until(() => clients.every(client => client.received === large.length), 'all of it')
    assert.ok(most <= bufferMemory, `${most} bytes`)
    await until(() => owned(rig.a) + owned(rig.b) === 0, 'nothing to be owned')
    for (const client of clients) client.reset()
  })

  test('is bounded for peers that stop inside a record, nobody else is harmed, and each is heard', async t => {
    const rig = await openRig(t, plane, { serve: echo, inbound: patient, bufferMemory })
    const stopped: Awaited<ReturnType<typeof connectRecordPeer>>[] = []
    for (let at = 0; at < peers; at++) stopped.push(await connectRecordPeer(t, rig.publicAddress))
    const records = stopped.map(peer => peer.data(payload))
    records.forEach((record, at) => {
      stopped[at]?.send(record.subarray(0, -1))
    })
    await settled(() => owned(rig.b), 'what is owned')
    assert.ok(owned(rig.b) > bufferMemory / 2, `${owned(rig.b)} bytes: nobody stopped`)
    assert.ok(owned(rig.b) <= bufferMemory, `${owned(rig.b)} bytes`)
    await rig.connect().echoes('unharmed')
    records.forEach((record, at) => {
      stopped[at]?.send(record.subarray(-1))
    })
    const heard = () =>
      rig.b.plane.sessions().filter(session => session.bytesToUpstream === payload.length).length
    await until(() => heard() === peers, 'all to be heard')
    await until(() => owned(rig.b) === 0, 'nothing to be owned')
    for (const peer of stopped) peer.reset()
  })
})
