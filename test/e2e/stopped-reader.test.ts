// A log that nobody reads is no reason to stand still, to grow, or to stay when it is time to go.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, closeSync, constants, openSync, readSync } from 'node:fs'
import { describe, type TestContext, test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import type { CommandOptions } from '../support/command.ts'
import { connect, type End, echo, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { mesh, spiffeId } from '../support/pki.ts'
import { Folder, launchSidecar, type RunningSidecar, upstreamTo } from '../support/running-sidecar.ts'
import { tlsConnect } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'
import { worldReadable } from '../support/world-readable.ts'

const megabyte = 1024 * 1024
// Every failed session writes the upstream's name.
const nameBytes = 2_000
const manyConnections = 5_000
// More than a pipe and the queue in front of it hold.
const fewConnections = 1_000
const atATime = 250
// The queue's bound and the kernel's pipe, 1 MB and 64 KB, rounded up.
const maxKeptBytes = 1.2 * megabyte
// What V8 has not collected yet is far more than what is kept; this bound is for a leak of another kind.
const maxGrowthBytes = 200 * megabyte
const exitWithinMs = 10_000

/** A pipe whose reading end the test holds, and reads from when it likes. */
class Reader {
  readonly writeFd: number
  readonly #fd: number
  #text = ''

  constructor(path: string) {
    execFileSync('mkfifo', ['-m', '600', path])
    this.#fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    this.writeFd = openSync(path, constants.O_WRONLY)
  }

  /** All that can be read now, and all before. */
  read(): string {
    const block = Buffer.alloc(megabyte)
    for (;;) {
      try {
        const bytes = readSync(this.#fd, block)
        if (bytes === 0) return this.#text
        this.#text += block.toString('utf8', 0, bytes)
      } catch {
        // EAGAIN: there is no more.
        return this.#text
      }
    }
  }

  close(): void {
    closeSync(this.#fd)
  }
}

interface Flooded {
  readonly sidecar: RunningSidecar
  readonly reader: Reader
  readonly session: End
  flood(connections: number): Promise<void>
}

/** A sidecar that writes into a pipe, with a live session and an upstream that is down. */
async function start(t: TestContext, user: CommandOptions = {}): Promise<Flooded> {
  const folder = await Folder.make(t)
  const reader = new Reader(folder.file('log'))
  const app = await openApp(t, { serve: echo })
  const listen = await freePort()
  const bind = await freePort()
  const makeReadable = async () => {
    if (user.uid !== undefined) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, folder.path])
    execFileSync('chown', ['0:0', folder.file('log')])
  }
  if (user.uid !== undefined) chmodSync(folder.path, 0o755)
  const write = folder.writeConfig.bind(folder)
  folder.writeConfig = async config => {
    await write(config)
    await makeReadable()
  }
  const sidecar = await launchSidecar(
    t,
    {
      inbound: {
        listen: formatAddress(listen),
        local_service_address: formatAddress(app.address),
        allow: [spiffeId('web')],
      },
      upstreams: [upstreamTo(await freePort(), bind, 'n'.repeat(nameBytes))],
    },
    { folder, stdio: ['ignore', reader.writeFd, 'pipe'], ...user },
  )
  closeSync(reader.writeFd)
  await until(() => reader.read().includes(' INFO  ready '), 'readiness', 20_000)
  const session = tlsConnect(t, listen, { certificate: mesh.web, root: mesh.root })
  await session.echoes('before')
  const flood = async (count: number) => {
    for (let left = count; left > 0; left -= atATime) {
      const clients = Array.from({ length: Math.min(atATime, left) }, () => connect(t, bind))
      for (const client of clients) client.send('x')
      await Promise.all(clients.map(client => client.isOver()))
    }
  }
  return { sidecar, reader, session, flood }
}

const dropped = ({ sidecar }: Flooded) => sidecar.metric('sidesplice_log_lines_dropped_total')
const failed = ({ sidecar }: Flooded) =>
  sidecar.metric('sidesplice_sessions_ended_total', { reason: 'connect_failed' })

async function tellsWhatItDropped(flooded: Flooded): Promise<void> {
  const { sidecar, reader, session } = flooded
  await session.echoes(' and after')
  assert.ok((await dropped(flooded)) > 0, 'nothing was dropped')
  const told = () =>
    [...reader.read().matchAll(/WARN {2}log lines were dropped lines=(\d+)\n/g)]
      .map(([, lines]) => Number(lines))
      .reduce((sum, lines) => sum + lines, 0)
  const lines = await dropped(flooded)
  await until(() => told() === lines, `the loss of ${lines} lines to be told`)
  const read = reader
    .read()
    .split('\n')
    .filter(line => line.includes('reason=connect_failed'))
  assert.equal(read.length + lines, await failed(flooded))
  sidecar.command.signal('SIGTERM')
  session.socket.end()
  assert.deepEqual(await sidecar.command.end(), { code: 0, signal: null })
  assert.match(reader.read(), / stopped sessions_cut=0 by_second_signal=false\n$/)
}

describe('a reader that has stopped', () => {
  test('costs lines, which are counted; sessions go on, memory is bounded, and it is told once it reads', async t => {
    const flooded = await start(t)
    const memory = () => flooded.sidecar.metric('process_resident_memory_bytes')
    const before = await memory()
    await flooded.flood(manyConnections)
    const growth = (await memory()) - before
    assert.ok(growth < maxGrowthBytes, `it grew by ${growth} bytes`)
    assert.equal(await failed(flooded), manyConnections)
    await tellsWhatItDropped(flooded)
    assert.ok(flooded.reader.read().length < maxKeptBytes)
  })

  test("does so too where the pipe is another user's", { skip: process.getuid?.() !== 0 }, async t => {
    const flooded = await start(t, { uid: 65_534, gid: 65_534, ...worldReadable(t) })
    await flooded.flood(fewConnections)
    await tellsWhatItDropped(flooded)
  })

  test('does not keep the sidecar from ending', async t => {
    const flooded = await start(t)
    await flooded.flood(fewConnections)
    assert.ok((await dropped(flooded)) > 0, 'nothing was dropped')
    flooded.session.socket.end()
    flooded.sidecar.command.signal('SIGTERM')
    assert.deepEqual(await flooded.sidecar.command.end(exitWithinMs), { code: 0, signal: null })
  })
})

test('a reader that has gone costs lines, and nothing else', async t => {
  const flooded = await start(t)
  flooded.reader.close()
  await flooded.flood(fewConnections)
  await flooded.session.echoes(' and after')
  assert.equal(await failed(flooded), fewConnections)
  assert.ok((await dropped(flooded)) >= fewConnections)
  assert.equal((await flooded.sidecar.get('/ready')).status, 200)
  flooded.session.socket.end()
  assert.deepEqual(await flooded.sidecar.command.stop(), { code: 0, signal: null })
})
