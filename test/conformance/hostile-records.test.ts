// What a peer may put into records after its handshake, and what it may not: each limit crossed by one, with the alert that the RFC
// names; what came whole before is the app's, and what follows is an error there.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maybeClosed, native, ownRecords } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import {
  connectRecordPeer,
  contentTypes,
  headerOf,
  maxPayloadBytes,
  message,
  messages,
  openRecordServer,
  type RecordPeer,
} from '../support/record-peer.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { until } from '../support/until.ts'

// RFC 8446 section 6.
const unexpectedMessage = 10
const badRecordMac = 20
const recordOverflow = 22
const illegalParameter = 47
const decodeError = 50

const barrenLimit = 32
const repeated = (count: number, make: () => Buffer) => Buffer.concat(Array.from({ length: count }, make))
const keyUpdateMessage = message(messages.keyUpdate, Buffer.from([0]))
const flipped = (record: Buffer) => {
  record[record.length - 1] = (record[record.length - 1] ?? 0) ^ 1
  return record
}

const refused: readonly (readonly [title: string, alert: number, make: (peer: RecordPeer) => Buffer])[] = [
  ['a payload one byte too long', recordOverflow, peer => peer.data(Buffer.alloc(maxPayloadBytes + 1))],
  [
    'a payload whose padding makes it one byte too long',
    recordOverflow,
    peer => peer.data('x', { padding: maxPayloadBytes }),
  ],
  [
    'a header of one byte more than a record may have',
    recordOverflow,
    () => headerOf(23, maxPayloadBytes + 257),
  ],
  ['a record shorter than its tag', badRecordMac, () => Buffer.concat([headerOf(23, 15), Buffer.alloc(15)])],
  ['an empty record', badRecordMac, () => headerOf(23, 0)],
  ['a flipped bit', badRecordMac, peer => flipped(peer.data('x'))],
  [
    'a record that came before',
    badRecordMac,
    peer => {
      const record = peer.data('')
      return Buffer.concat([record, record])
    },
  ],
  ['a record without a type', unexpectedMessage, peer => peer.sealInner(Buffer.alloc(0))],
  ['a record of padding alone', unexpectedMessage, peer => peer.sealInner(Buffer.alloc(100))],
  [
    'an outer type of handshake',
    unexpectedMessage,
    peer => peer.data('x', { outerType: contentTypes.handshake }),
  ],
  ['a change_cipher_spec behind Finished', unexpectedMessage, () => Buffer.from([20, 3, 3, 0, 1, 1])],
  ['a change_cipher_spec under protection', unexpectedMessage, peer => peer.seal(20, Buffer.from([1]))],
  ['an unknown type', unexpectedMessage, peer => peer.seal(99, 'x')],
  ['an alert without content', unexpectedMessage, peer => peer.seal(contentTypes.alert, '')],
  ['an alert of three bytes', decodeError, peer => peer.seal(contentTypes.alert, Buffer.from([1, 0, 0]))],
  ['a handshake record without content', unexpectedMessage, peer => peer.seal(contentTypes.handshake, '')],
  [
    'a ClientHello behind the handshake',
    unexpectedMessage,
    peer => peer.handshake(messages.clientHello, Buffer.alloc(40)),
  ],
  [
    'a ticket from a client',
    unexpectedMessage,
    peer => peer.handshake(messages.newSessionTicket, Buffer.alloc(40)),
  ],
  [
    'a KeyUpdate of an unknown kind',
    illegalParameter,
    peer => peer.handshake(messages.keyUpdate, Buffer.from([2])),
  ],
  ['a KeyUpdate without content', decodeError, peer => peer.handshake(messages.keyUpdate, Buffer.alloc(0))],
  ['a KeyUpdate of two bytes', decodeError, peer => peer.handshake(messages.keyUpdate, Buffer.alloc(2))],
  [
    'a KeyUpdate that does not end its record',
    unexpectedMessage,
    peer => peer.seal(contentTypes.handshake, Buffer.concat([keyUpdateMessage, keyUpdateMessage])),
  ],
  [
    'data in the middle of a handshake message',
    unexpectedMessage,
    peer =>
      Buffer.concat([peer.seal(contentTypes.handshake, keyUpdateMessage.subarray(0, 2)), peer.data('x')]),
  ],
  [
    'a handshake message that promises more than 64 KiB',
    decodeError,
    peer => peer.seal(contentTypes.handshake, Buffer.from([messages.keyUpdate, 1, 0, 1])),
  ],
  [
    'a record under the key of before a KeyUpdate',
    badRecordMac,
    peer => {
      const early = peer.data('x')
      return Buffer.concat([peer.keyUpdate(), early])
    },
  ],
  [
    '33 records in a row without a byte',
    unexpectedMessage,
    peer => repeated(barrenLimit + 1, () => peer.data('')),
  ],
  ['33 KeyUpdates in a row', unexpectedMessage, peer => repeated(barrenLimit + 1, () => peer.keyUpdate())],
  [
    '33 warnings in a row that mean nothing',
    unexpectedMessage,
    peer => repeated(barrenLimit + 1, () => peer.alert(90, 1)),
  ],
]

const taken: readonly (readonly [title: string, make: (peer: RecordPeer) => Buffer, text: string])[] = [
  ['the longest payload', peer => peer.data('y'.repeat(maxPayloadBytes)), 'y'.repeat(maxPayloadBytes)],
  ['the longest padding', peer => peer.data('y', { padding: maxPayloadBytes - 1 }), 'y'],
  [
    '32 records in a row without a byte, twice',
    peer =>
      Buffer.concat([
        repeated(barrenLimit, () => peer.data('')),
        peer.data('y'),
        repeated(barrenLimit, () => peer.keyUpdate(true)),
        peer.data('z'),
      ]),
    'yz',
  ],
  [
    'a KeyUpdate in two records',
    peer => {
      const parts = [keyUpdateMessage.subarray(0, 3), keyUpdateMessage.subarray(3)]
      const records = parts.map(part => peer.seal(contentTypes.handshake, part))
      peer.updateSending()
      return Buffer.concat([...records, peer.data('y')])
    },
    'y',
  ],
  ['user_canceled before data', peer => Buffer.concat([peer.alert(90, 1), peer.data('y')]), 'y'],
]

/** What kernel TLS makes of some of them: another alert, or why it is left out there. */
const byKernel: Readonly<Record<string, number | string>> = {
  'a record without a type': badRecordMac,
  'a record of padding alone': badRecordMac,
  'an outer type of handshake': badRecordMac,
  'a change_cipher_spec behind Finished': badRecordMac,
  'a record under the key of before a KeyUpdate': 'the KeyUpdate ends it: ktls/key-update',
  '33 records in a row without a byte': 'the kernel passes over empty records by itself',
  '33 KeyUpdates in a row': 'the first one ends it: ktls/key-update',
  '32 records in a row without a byte, twice': 'KeyUpdates are among them',
  'a KeyUpdate in two records': 'it ends it: ktls/key-update',
}

native('records of a hostile peer', plane => {
  const kernelsOf = (title: string) => (plane.relay === 'ktls-splice' ? byKernel[title] : undefined)
  for (const [title, ours, make] of refused) {
    const alert = kernelsOf(title) ?? ours
    if (typeof alert === 'string') continue
    test(`${title} is refused with alert ${alert}`, async t => {
      const rig = await openRig(t, plane)
      const peer = await connectRecordPeer(t, rig.publicAddress)
      const app = await rig.app.connection()
      peer.send(peer.data('before'), make(peer), peer.data('behind'))
      assert.equal(await app.fails(), 'ECONNRESET')
      assert.equal(app.text, 'before')
      await peer.isOver()
      assert.deepEqual(peer.alerts, [alert])
      assert.equal((await rig.b.record()).reason, 'downstream_reset')
    })
  }

  for (const [title, make, text] of taken) {
    if (kernelsOf(title) !== undefined) continue
    test(`${title} is taken`, async t => {
      const rig = await openRig(t, plane)
      const peer = await connectRecordPeer(t, rig.publicAddress)
      const app = await rig.app.connection()
      peer.send(peer.data('before '), make(peer), peer.data(' behind'), peer.closeNotify())
      await app.ends()
      assert.equal(app.text, `before ${text} behind`)
      app.socket.end('answer')
      await peer.gets('answer')
      // It is a record of its own, and may come a moment later.
      await until(() => peer.alerts.length > 0, 'the close_notify')
      assert.deepEqual(peer.alerts, [0])
      peer.socket.end()
      assert.equal((await rig.b.record()).reason, 'closed')
    })
  }

  test('a refusal before the first byte is no health check', async t => {
    const rig = await openRig(t, plane)
    const peer = await connectRecordPeer(t, rig.publicAddress)
    const app = await rig.app.connection()
    peer.send(flipped(peer.data('x')))
    assert.equal(await app.fails(), 'ECONNRESET')
    const record = await rig.b.record()
    assert.equal(record.reason, 'downstream_reset')
    assert.equal(record.detail, 'refused with alert bad_record_mac')
  })

  test('an end in the segment of Finished is a clean end', async t => {
    const rig = await openRig(t, maybeClosed(plane), { serve: echo })
    const peer = await connectRecordPeer(t, rig.publicAddress, { holdFinished: true })
    peer.send(peer.data('all there is'), peer.closeNotify())
    peer.socket.end()
    await peer.gets('all there is')
    await peer.isOver()
    assert.deepEqual(peer.alerts, [0])
    assert.equal((await rig.b.record()).reason, 'closed')
  })

  test('a FIN inside a record is a cut, behind the records before it', async t => {
    const rig = await openRig(t, maybeClosed(plane))
    const peer = await connectRecordPeer(t, rig.publicAddress)
    const app = await rig.app.connection()
    peer.send(peer.data('whole'), peer.data('cut short').subarray(0, -1))
    peer.socket.end()
    assert.equal(await app.fails(), 'ECONNRESET')
    assert.equal(app.text, 'whole')
    assert.equal((await rig.b.record()).reason, 'downstream_truncated')
  })
})

ownRecords('KeyUpdates of a hostile peer', plane => {
  // No ticket among the handshake messages that are looked at.
  const resumption = false

  test('data and KeyUpdates in the segment of Finished arrive, in order', async t => {
    const rig = await openRig(t, plane, { serve: echo, resumption })
    const peer = await connectRecordPeer(t, rig.publicAddress, { holdFinished: true })
    peer.send(
      peer.data('one '),
      peer.keyUpdate(true),
      peer.data('two '),
      peer.keyUpdate(),
      peer.data('three'),
    )
    await peer.gets('one two three')
    assert.deepEqual(peer.handshakes, [messages.keyUpdate])
  })

  test('a KeyUpdate that is asked for behind our close_notify is not answered, and the answer goes on', async t => {
    const rig = await openRig(t, plane)
    const server = await openRecordServer(t, () => {})
    rig.a.routes([endpoint(server.address)])
    const client = rig.connect()
    const peer = await until(() => server.peers[0], 'the session')
    client.socket.end('question')
    await until(() => peer.ended, 'the end of the question')
    assert.deepEqual(peer.alerts, [0])
    peer.send(peer.data('one '), peer.keyUpdate(true), peer.data('two '))
    await client.gets('one two ')
    peer.send(peer.keyUpdate(true), peer.data('three'), peer.closeNotify())
    await client.ends()
    assert.equal(client.text, 'one two three')
    assert.equal((await rig.a.record()).reason, 'closed')
    assert.deepEqual(peer.handshakes, [])
  })

  test('a KeyUpdate that is asked for is answered although nothing else moves', async t => {
    const rig = await openRig(t, plane, { resumption })
    const peer = await connectRecordPeer(t, rig.publicAddress)
    await rig.app.connection()
    peer.send(peer.keyUpdate(true))
    await until(() => peer.handshakes.length > 0, 'the answer')
    peer.send(peer.keyUpdate(true))
    await until(() => peer.handshakes.length > 1, 'the second answer')
  })

  test('a KeyUpdate that is asked for before is answered once, and the key is the next one from there', async t => {
    const rig = await openRig(t, plane, { serve: echo, resumption })
    const peer = await connectRecordPeer(t, rig.publicAddress)
    for (let at = 0; at < 5; at++) {
      peer.send(peer.keyUpdate(true), peer.data(`${at}`))
      await until(() => peer.text.length > at, 'the echo')
    }
    assert.equal(peer.text, '01234')
    assert.deepEqual(peer.handshakes, Array(5).fill(messages.keyUpdate))
  })
})
