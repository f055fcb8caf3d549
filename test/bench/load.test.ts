// Each mode of the load generator, over a chain of two sidecars and over the floor; and what it says of a chain that changes bytes.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { Chain, type World } from '../../bench/chain.ts'
import { portOf } from '../../bench/peer.ts'
import { floor } from '../../bench/peers/references.ts'
import { native } from '../../bench/peers/sidesplice.ts'
import { makeIdentities } from '../../src/bench/identities.ts'
import {
  type BulkResult,
  type ConnectResult,
  HeldConnections,
  LoadError,
  LoadServer,
  runLoad,
  type TripsResult,
} from '../../src/bench/load.ts'
import { build } from '../support/command.ts'

const folder = mkdtempSync(join(tmpdir(), 'sidesplice-load-'))
const seconds = 0.3
let app: LoadServer
let world: World

before(async () => {
  build()
  app = await LoadServer.start('app', { listen: '127.0.0.1:0' })
  world = { folder, app: app.address, identities: await makeIdentities(join(folder, 'identities')) }
})
after(() => {
  app.stop()
  rmSync(folder, { recursive: true, force: true })
})

for (const peer of [native, floor])
  describe(peer.title, () => {
    let chain: Chain
    before(async () => {
      chain = await Chain.open(peer, world)
      await chain.start()
    })
    after(() => chain.close())

    for (const direction of ['up', 'down', 'both'] as const)
      test(`bulk ${direction}: bytes go the way that was asked for`, async () => {
        const options = { to: chain.to, direction, streams: 4, seconds }
        const { bytesUp, bytesDown, gbits } = await runLoad<BulkResult>('bulk', options)
        assert.equal(bytesUp > 0, direction !== 'down')
        assert.equal(bytesDown > 0, direction !== 'up')
        assert.ok(gbits > 0)
        const { a, b } = chain.cpuSeconds()
        assert.ok(a + b > 0, 'both have used the CPU')
      })

    for (const connections of [1, 16])
      test(`round trips on ${connections}: percentiles in order, and HdrHistogram's text`, async () => {
        const hdr = join(folder, `${peer.name}-${connections}.hdr`)
        const options = { to: chain.to, bytes: 16_384, connections, seconds, hdr }
        const { trips, microseconds } = await runLoad<TripsResult>('rtt', options)
        const { count, p50, p90, p99, p999, max, curve } = microseconds
        assert.equal(count, trips)
        assert.ok(0 < p50 && p50 <= p90 && p90 <= p99 && p99 <= p999 && p999 <= max)
        assert.deepEqual(curve.at(-1), [1, max])
        assert.match(readFileSync(hdr, 'utf8'), new RegExp(`Total count    = +${trips}\\]`))
      })

    for (const bytes of [1, 300_000])
      test(`connections with ${bytes} bytes of answer each are counted`, async () => {
        const options = { to: chain.to, bytes, 'in-flight': 4, seconds, nice: 19 }
        const { connections, microseconds } = await runLoad<ConnectResult>('connect', options)
        assert.ok(connections > 0)
        assert.equal(microseconds.count, connections)
      })

    test('connections are held in steps, and answer at the end', async () => {
      const held = new HeldConnections(chain.to, [20, 50])
      assert.equal(await held.step(), 20)
      held.goOn()
      assert.equal(await held.step(), 50)
      held.goOn()
      await held.end()
    })

    test('a chain that dies under held connections is an error', async () => {
      const held = new HeldConnections(chain.to, [5])
      assert.equal(await held.step(), 5)
      await chain.stop()
      held.goOn()
      await assert.rejects(held.end(), LoadError)
    })
  })

describe('a chain that does harm', () => {
  const bulk = (to: string, direction: string) => runLoad('bulk', { to, direction, seconds })

  test('the relay between does none by itself', async t => {
    await bulk(await relay(t, chunk => chunk), 'both')
  })

  test('a changed byte is an error, whichever way it goes', async t => {
    const to = await relay(t, (chunk, at) => changed(chunk, at, 1_000_000))
    for (const direction of ['up', 'down']) await assert.rejects(bulk(to, direction), LoadError)
    await assert.rejects(runLoad('connect', { to: await relay(t, flipLast), seconds }), /bytes differ/)
    await assert.rejects(runLoad('rtt', { to: await relay(t, flipLast), seconds }), LoadError)
  })

  test('a lost block is an error', async t => {
    let lost = false
    const to = await relay(t, (chunk, at) => {
      if (lost || at < 1_000_000 || chunk.length < 4_096) return chunk
      lost = true
      return chunk.subarray(4_096)
    })
    await assert.rejects(bulk(to, 'down'), LoadError)
  })

  test('an option that a mode does not know is refused', async () => {
    await assert.rejects(runLoad('bulk', { to: app.address, stream: 4 }), /load bulk: it ended with 1/)
  })

  test('nobody there is an error', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    server.close()
    await assert.rejects(bulk(`127.0.0.1:${port}`, 'up'), /connect ECONNREFUSED/)
  })
})

type Harm = (chunk: Buffer, at: number) => Buffer

/** To the app, with every chunk as `harm` leaves it; `at` is the position of its first byte. */
async function relay(t: TestContext, harm: Harm): Promise<string> {
  const server = createServer(socket => {
    const other = connect(portOf(app.address), '127.0.0.1')
    for (const [from, to] of [
      [socket, other],
      [other, socket],
    ] as const) {
      let at = 0
      from.on('error', () => to.destroy()).on('end', () => to.end())
      from.on('data', (chunk: Buffer) => {
        const sent = harm(chunk, at)
        at += chunk.length
        if (!to.write(sent)) {
          from.pause()
          to.once('drain', () => from.resume())
        }
      })
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `127.0.0.1:${(server.address() as { port: number }).port}`
}

function changed(chunk: Buffer, at: number, position: number): Buffer {
  if (position < at || position >= at + chunk.length) return chunk
  const copy = Buffer.from(chunk)
  copy[position - at] = (copy[position - at] ?? 0) ^ 1
  return copy
}

/** Of what is not a message to the app. */
function flipLast(chunk: Buffer): Buffer {
  if (chunk.length >= 16 && chunk.readUInt32LE(0) === 0x31425353) return chunk
  const copy = Buffer.from(chunk)
  // Not a flipped bit: what is echoed passes twice.
  copy[copy.length - 1] = (copy.at(-1) ?? 0) + 1
  return copy
}
