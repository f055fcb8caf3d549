// Five thousand peers that stop where it hurts, against a sidecar in a process of its own: what it owns stays under its cap, nobody else is
// kept waiting, and nothing is lost of those that go on. In a network with short queues (test/support/own-network.ts): the kernel's would
// hold gigabytes.
import assert from 'node:assert/strict'
import net from 'node:net'
import { type TestContext, test } from 'node:test'
import type { Address } from '../../src/address.ts'
import { ask, forkSidecars } from '../soak/ask.ts'
import type { ToSidecars } from '../soak/sidecars.ts'
import { mesh } from '../support/pki.ts'
import { connectRecordPeer, type RecordPeer } from '../support/record-peer.ts'
import { eventually } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'

const many = 5_000
// With the session of a peer that stands beside them.
const all = many + 1
const handshakesAtOnce = 32
const goOnEach = 250
const megabyte = 1024 * 1024
const bufferMemory = 8 * megabyte
// What a session takes beside its bytes, with some more for the allocator.
const sessionBytes = 10 * 1024
const record = 'x'.repeat(16_000)
// More than the queues on its way take.
const large = Buffer.alloc(512 * 1024)
for (let at = 0; at < large.length; at++) large[at] = (at * 31 + (at >> 8)) & 0xff
const limitMs = 240_000
const patienceMs = 60_000

test('thousands of peers that stop inside a record: memory under its cap, others unharmed, and who goes on is served', {
  timeout: limitMs,
}, async t => {
  const rig = await openRig(t)
  const peers = await rig.connectMany()
  const before = await rig.figures()
  const sealed = peers.map(peer => peer.data(record))
  peers.forEach((peer, at) => {
    peer.send((sealed[at] as Buffer).subarray(0, -1))
  })
  await rig.bounded(before)
  assert.equal(rig.served(), 1, 'of a record that is not whole the app sees nothing')
  await rig.beside.echoes('unharmed')
  const going = peers.filter((_, at) => at % goOnEach === 0)
  for (const peer of going) peer.send((sealed[peers.indexOf(peer)] as Buffer).subarray(-1))
  await until(() => going.every(({ text }) => text === record), 'their echoes', patienceMs)
  await rig.leave(peers)
})

test('thousands of readers that stop: memory under its cap, others unharmed, and who goes on gets all', {
  timeout: limitMs,
}, async t => {
  const rig = await openRig(t)
  const peers = await rig.connectMany()
  const before = await rig.figures()
  for (const peer of peers) {
    peer.socket.pause()
    peer.send(peer.data('much'))
  }
  await until(() => rig.served() === all, 'all to be served', patienceMs)
  await rig.bounded(before)
  await rig.beside.echoes('unharmed')
  const going = peers.filter((_, at) => at % goOnEach === 0)
  for (const peer of going) peer.socket.resume()
  const bytesOf = ({ records }: RecordPeer) => records.reduce((sum, { payload }) => sum + payload.length, 0)
  await until(() => going.every(peer => bytesOf(peer) >= large.length), 'all of it', patienceMs)
  for (const { records } of going)
    assert.ok(Buffer.concat(records.map(({ payload }) => payload)).equals(large))
  await rig.leave(peers)
})

async function openRig(t: TestContext) {
  const { address: app, served } = await openApp(t)
  const child = forkSidecars()
  t.after(() => child.kill())
  const { root, web, db } = mesh
  const identities = {
    rootPem: root.certPem,
    web: { chainPem: web.chainPem, keyPem: web.keyPem },
    db: { chainPem: db.chainPem, keyPem: db.keyPem },
  }
  const started = await ask(
    child,
    { type: 'start', dataPlane: 'native', app, bufferMemory, identities },
    'started',
  )
  const figures = () => ask(child, { type: 'figures' } satisfies ToSidecars, 'figures')
  const beside = await connectRecordPeer(t, started.inbound)
  let said = ''
  const rig = {
    figures,
    served,
    beside: {
      async echoes(word: string) {
        said += word
        beside.send(beside.data(word))
        await beside.gets(said)
      },
    },
    async connectMany(): Promise<readonly RecordPeer[]> {
      const peers: RecordPeer[] = []
      while (peers.length < many) {
        const next = Math.min(handshakesAtOnce, many - peers.length)
        const some = Array.from({ length: next }, () => connectRecordPeer(t, started.inbound))
        peers.push(...(await Promise.all(some)))
      }
      await eventually(async () => (await figures()).live === all, 'all to be live', patienceMs)
      return peers
    },
    async bounded(before: { readonly residentBytes: number }) {
      // That many want more than there is: it has come to the cap, or nothing is shown.
      await eventually(
        async () => (await figures()).ownedBytes > bufferMemory / 2,
        'the memory to be used',
        patienceMs,
      )
      let last = -1
      await eventually(
        async () => {
          const before = last
          last = (await figures()).ownedBytes
          return last === before
        },
        'what is owned to stand still',
        patienceMs,
      )
      const { live, ownedBytes, residentBytes } = await figures()
      const grown = residentBytes - before.residentBytes
      t.diagnostic(`${ownedBytes} bytes owned by ${live} sessions, ${grown} more resident`)
      assert.equal(live, all)
      assert.ok(ownedBytes <= bufferMemory, `${ownedBytes} bytes owned`)
      assert.ok(grown <= bufferMemory + many * sessionBytes, `${grown} bytes more`)
    },
    async leave(peers: readonly RecordPeer[]) {
      for (const peer of peers) peer.reset()
      await eventually(async () => (await figures()).live === 1, 'their end', patienceMs)
      assert.equal((await figures()).ownedBytes, 0)
      await rig.beside.echoes('behind')
    },
  }
  await rig.beside.echoes('before')
  return rig
}

/** Answers `much` with a lot, and anything else with itself. */
async function openApp(
  t: TestContext,
): Promise<{ readonly address: Address; readonly served: () => number }> {
  let served = 0
  const sockets: net.Socket[] = []
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, socket => {
    sockets.push(socket)
    socket.on('error', () => {}).once('data', () => served++)
    socket.on('data', chunk => socket.write(chunk.toString() === 'much' ? large : chunk))
  })
  await new Promise<void>(resolve => server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, resolve))
  t.after(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    address: { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port },
    served: () => served,
  }
}
