// Many peers that stop where it hurts, and floods: other sessions are unharmed, memory stays bounded, and no thread spins.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import net from 'node:net'
import { test } from 'node:test'
import tls from 'node:tls'
import { native } from '../support/data-planes.ts'
import { connect, type End, echo, sendMany } from '../support/ends.ts'
import { issueIntermediates, issueLeaf, mesh, spiffeId } from '../support/pki.ts'
import { connectRecordPeer, messages, openRecordServer } from '../support/record-peer.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { issueRsaLeaf, rsaSizes } from '../support/rsa.ts'
import { openTlsServer, tlsConnect } from '../support/tls-peers.ts'
import { settled, until } from '../support/until.ts'

const many = 300
// Of a process with 20,000 descriptors, which is both ends of each.
const stopped = 5_000
const megabyte = 1024 * 1024
const patient = { handshakeTimeoutMs: 30_000, halfCloseTimeoutMs: 30_000 }
// More than the kernel's queues on the way take of it.
const large = Buffer.alloc(32 * megabyte, 'x')
const readers = 50

native('hostile peers', plane => {
  test('a flood of KeyUpdates that asks and does not read is answered by one at a time', async t => {
    const rig = await openRig(t, plane)
    const peer = await connectRecordPeer(t, rig.publicAddress)
    const app = await rig.app.connection()
    peer.socket.pause()
    const rounds = 20_000
    const before = process.memoryUsage.rss()
    for (let at = 0; at < rounds; at += 100) {
      peer.send(...Array.from({ length: 100 }, () => Buffer.concat([peer.keyUpdate(true), peer.data('x')])))
      await until(() => peer.socket.writableLength < megabyte, 'the flood to be taken')
    }
    await until(() => app.received === rounds, 'all of the data')
    assert.ok(process.memoryUsage.rss() - before < 256 * megabyte)
    peer.socket.resume()
    app.send('still here')
    await peer.gets('still here')
    assert.ok(peer.handshakes.length > 0 && peer.handshakes.length <= rounds)
  })

  test('a handshake at a byte a time has the time of any other, and no more', async t => {
    const rig = await openRig(t, plane, { inbound: { handshakeTimeoutMs: 500 } })
    const peer = connect(t, rig.publicAddress)
    const hello = await clientHello()
    let at = 0
    const timer = setInterval(() => at < hello.length && peer.send(hello.subarray(at, ++at)), 20)
    t.after(() => clearInterval(timer))
    await peer.isOver()
    const record = await rig.b.record()
    assert.equal(record.reason, 'handshake_timeout')
    assert.ok(at < hello.length)
  })

  test('thousands of peers that stop behind their ClientHello touch no live session, and go at their time limit', {
    timeout: 120_000,
  }, async t => {
    const rig = await openRig(t, plane, { serve: echo, inbound: { handshakeTimeoutMs: 5_000 } })
    const live = rig.connect()
    await live.echoes('before')
    const hello = await clientHello()
    const peers: End[] = []
    // As the backlog takes them: each is accepted or waits there, and none is lost.
    for (let at = 0; at < stopped; at++) {
      const peer = connect(t, rig.publicAddress)
      peer.send(hello)
      peers.push(peer)
      if (at % 100 === 99) await live.echoes(`beside ${at}`)
    }
    await until(() => rig.b.records.length === stopped, 'their end', 60_000)
    assert.ok(rig.b.records.every(({ reason }) => reason === 'handshake_timeout'))
    await until(() => peers.every(peer => peer.closed), 'their connections to be closed')
    await live.echoes('behind')
    await rig.connect().echoes('unharmed')
    assert.equal(rig.b.plane.sessions().length, 2)
  })

  test('many peers that stop inside a record keep nobody out', async t => {
    const rig = await openRig(t, plane, { serve: echo, inbound: patient })
    const peers = []
    for (let at = 0; at < many; at++) peers.push(await connectRecordPeer(t, rig.publicAddress))
    for (const peer of peers) peer.send(peer.data('x'.repeat(16_000)).subarray(0, -1))
    await rig.connect().echoes('unharmed')
    assert.equal(rig.b.plane.sessions().length, many + 1)
    for (const peer of peers) peer.reset()
    await until(() => rig.b.records.length === many, 'their end')
    assert.ok(rig.b.records.every(({ bytesToUpstream }) => bytesToUpstream === 0))
  })

  test('many readers that stop keep nobody out, and what waits for them is bounded', async t => {
    const rig = await openRig(t, plane, {
      outbound: patient,
      inbound: patient,
      serve: end => {
        end.socket.once('data', word => {
          if (word.toString() === 'much') end.socket.write(large)
          else end.socket.write(word)
        })
      },
    })
    rig.a.routes([endpoint(rig.publicAddress, { timeLimitMs: 30_000 })], { connectTimeoutMs: 30_000 })
    const before = process.memoryUsage.rss()
    const clients: End[] = []
    for (let at = 0; at < readers; at++) {
      const client = rig.connect()
      client.socket.pause()
      client.send('much')
      clients.push(client)
    }
    const taken = () => rig.a.plane.counters().listeners.get('db')?.bytesToDownstream ?? 0
    const counted = () => rig.a.plane.sessions().filter(session => session.bytesToDownstream > 0).length
    await until(() => counted() === readers, 'all to be served')
    await settled(taken, 'what is taken')
    assert.ok(taken() < readers * large.length, 'nobody stopped reading')
    await rig.connect().echoes('word')
    // Sealed and opened bytes that wait are no more than a batch of 16 records each, on either side of either sidecar.
    const grown = process.memoryUsage.rss() - before
    assert.ok(grown < readers * megabyte, `${Math.round(grown / megabyte)} MiB more`)
    for (const one of clients) one.reset()
    await until(() => rig.a.records.length === readers && rig.b.records.length === readers, 'their end')
  })

  test('a half that is reset while the other is blocked costs no CPU', async t => {
    const rig = await openRig(t, plane, { outbound: patient, inbound: patient })
    const { client, server } = await rig.connected()
    server.socket.pause()
    void sendMany(client, 64 * megabyte)
    const sent = () => rig.b.plane.sessions()[0]?.bytesToUpstream ?? 0
    await settled(sent, 'what is sent')
    // One direction ends while the other is blocked; then the blocked one's source goes away.
    server.socket.end('bye')
    await client.gets('bye')
    const quiet = await cpuOver(1_000)
    assert.ok(quiet < 100, `${quiet} ms of CPU for nothing`)
    client.reset()
    await until(() => rig.a.records.length === 1, 'the end')
    const behind = await cpuOver(1_000)
    assert.ok(behind < 100, `${behind} ms of CPU behind it`)
  })

  test('a peer that is refused and floods holds nobody up', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { admit } = rig.b
    rig.b.admit = (question, answer) => answer(rig.b.refusal(question, 'denied'))
    const peers = await Promise.all(Array.from({ length: 4 }, () => connectRecordPeer(t, rig.publicAddress)))
    const flood = Buffer.alloc(megabyte)
    for (const peer of peers) {
      const pump = () => {
        while (!peer.socket.destroyed && peer.socket.write(flood));
      }
      peer.socket.on('drain', pump)
      pump()
    }
    await until(() => rig.b.records.length === peers.length, 'the refusals')
    rig.b.admit = admit
    await rig.connect().echoes('unharmed')
    await until(() => peers.every(peer => peer.ended || peer.error !== undefined), 'their end')
  })

  for (const [bits, exponents] of Object.entries(rsaSizes)) {
    test(`a peer with an RSA key of ${bits} bits is let in, and costs nobody else`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      const peer = tlsConnect(t, rig.publicAddress, {
        certificate: await issueRsaLeaf(exponents),
        root: mesh.root,
      })
      await rig.connect().echoes('unharmed')
      await peer.echoes('by rsa')
    })
  }

  test('a chain of 50 certificates is refused, and said so', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const certificate = await issueLeaf('web', await issueIntermediates(mesh.root, 49))
    const peer = tlsConnect(t, rig.publicAddress, { certificate, root: mesh.root })
    peer.send('hello')
    await peer.fails()
    assert.equal((await rig.b.record()).reason, 'peer_certificate_refused')
    assert.equal(rig.app.connections.length, 0)
    await rig.connect().echoes('unharmed')
  })

  test('a leaf that was verified as a server is not thereby verified as a client, nor the other way round', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    for (const [own, other] of [
      ['server', 'client'],
      ['client', 'server'],
    ] as const) {
      const certificate = await issueLeaf('web', mesh.root, { usages: [own] })
      const server = await openTlsServer(t, { certificate, root: mesh.root, serve: echo })
      rig.a.routes([endpoint(server.address, { expect: [spiffeId('web')] })])
      const dialed = async () => {
        const client = rig.connect()
        if (own === 'server') await client.echoes('as a server')
        else await client.fails()
      }
      const dialing = async () => {
        const peer = tlsConnect(t, rig.publicAddress, { certificate, root: mesh.root })
        if (own === 'client') await peer.echoes('as a client')
        else await peer.fails()
      }
      // The allowed one comes first, then the other, then the first again.
      for (const step of own === 'server' ? [dialed, dialing, dialed] : [dialing, dialed, dialing])
        await step()
      assert.notEqual(own, other)
    }
  })

  test('a server whose tickets come late, and in two records, is read on', async t => {
    const rig = await openRig(t, plane)
    const server = await openRecordServer(t, () => {})
    rig.a.routes([endpoint(server.address)])
    const client = rig.connect()
    const peer = await until(() => server.peers[0], 'the session')
    const ticket = Buffer.concat([Buffer.from([messages.newSessionTicket, 0, 0, 40]), Buffer.alloc(40)])
    peer.send(peer.seal(22, ticket.subarray(0, 10)), peer.seal(22, ticket.subarray(10)), peer.data('data'))
    await client.gets('data')
  })
})

/** A ClientHello as Node sends it. */
async function clientHello(): Promise<Buffer> {
  const server = net.createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  const dialing = tls.connect({ host: '127.0.0.1', port }).on('error', () => {})
  const hello = await new Promise<Buffer>(resolve =>
    server.once('connection', socket => socket.on('error', () => {}).once('data', resolve)),
  )
  dialing.destroy()
  server.close()
  return hello
}

/** CPU milliseconds of the relay threads of this process over a while. */
async function cpuOver(ms: number): Promise<number> {
  const before = relayCpuMs()
  await new Promise(resolve => setTimeout(resolve, ms))
  return relayCpuMs() - before
}

/** proc(5): user and system time in ticks of 10 ms, behind the name, which may hold anything but a last parenthesis. */
function relayCpuMs(): number {
  return readdirSync('/proc/self/task')
    .map(task => readFileSync(`/proc/self/task/${task}/stat`, 'utf8'))
    .filter(stat => /\((relay|front)/.test(stat))
    .map(stat => stat.slice(stat.lastIndexOf(')') + 2).split(' '))
    .reduce((sum, fields) => sum + 10 * (Number(fields[11]) + Number(fields[12])), 0)
}
