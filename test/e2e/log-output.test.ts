// Where the log goes, and what becomes of the proxy where nobody takes it.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { describe, type TestContext, test } from 'node:test'
import type { Address } from '../../src/address.ts'
import { check } from '../support/check.ts'
import { type Ended, patienceMs } from '../support/command.ts'
import { connect, echo } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { LogReader, NamedPipe, type OutputKind, outputKinds } from '../support/log-reader.ts'
import { mesh, spiffeId } from '../support/pki.ts'
import {
  eventually,
  Folder,
  launchSidecar,
  type RunningSidecar,
  startSidecar,
  upstreamTo,
} from '../support/running-sidecar.ts'
import { openTlsServer } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'

const megabyte = 1024 * 1024

for (const kind of outputKinds) {
  describe(`standard output is a ${kind}`, { concurrency: 2 }, () => {
    test('the last lines are not lost: SIGTERM right behind many sessions', async t => {
      const { sidecar, out, failMany } = await start(t, { kind })
      await failMany(200)
      sidecar.command.signal('SIGTERM')
      assert.deepEqual(await exit(sidecar), { code: 0, signal: null })
      await until(() => out.linesWith(' stopped ').length > 0, 'the last line', patienceMs)
      assert.equal(out.linesWith(' session ended ').length, 200)
      assert.match(out.lines.at(-1) ?? '', / INFO {2}stopped sessions_cut=0 by_second_signal=false$/)
    })

    test('the last lines are not lost where the reader is behind', async t => {
      // More than the kernel takes, less than the queue.
      const { sidecar, out, failMany } = await start(t, { kind, lineBytes: 5_000 })
      out.stop()
      await failMany(150)
      sidecar.command.signal('SIGTERM')
      out.goOn()
      assert.deepEqual(await exit(sidecar), { code: 0, signal: null })
      await until(() => out.linesWith(' stopped ').length > 0, 'the last line', patienceMs)
      assert.equal(out.linesWith(' session ended ').length, 150)
    })

    test('a reader that stops holds neither sessions nor memory, and reads later how many lines it has missed', async t => {
      const lineBytes = 70_000
      const { sidecar, out, failMany, echoes } = await start(t, { kind, lineBytes })
      out.stop()
      // Until the queue is full and the heap as large as this load makes it.
      const first = 300
      await failMany(first)
      const before = residentBytes(sidecar.pid)
      const sessions = 4_000
      const load = failMany(sessions)
      let over = false
      load.finally(() => {
        over = true
      })
      let served = 0
      while (!over) {
        await echoes()
        served++
      }
      await load
      assert.ok(served > 3, `${served} sessions beside the load`)
      const grown = residentBytes(sidecar.pid) - before
      assert.ok(grown < 240 * megabyte, `${Math.round(grown / megabyte)} MiB more than before`)
      assert.ok(sessions * lineBytes > 260 * megabyte, 'all the lines together would be more')

      const dropped = await sidecar.metric('sidesplice_log_lines_dropped_total')
      assert.ok(dropped > first + sessions - 100, `${dropped} lines dropped`)
      out.goOn()
      const named = () =>
        out
          .linesWith(' WARN  log lines were dropped lines=')
          .reduce((sum, line) => sum + Number(line.split('=').at(-1)), 0)
      await until(() => named() >= dropped, `${dropped} lines to be named as missing`, patienceMs)
      assert.equal(named(), await sidecar.metric('sidesplice_log_lines_dropped_total'))
      await echoes()
      assert.equal(named(), dropped)
    })

    test('a reader that has stopped does not hold the end', async t => {
      const { sidecar, out, failMany } = await start(t, { kind, lineBytes: 20_000 })
      out.stop()
      await failMany(300)
      assert.ok((await sidecar.metric('sidesplice_log_lines_dropped_total')) > 0)
      sidecar.command.signal('SIGTERM')
      assert.deepEqual(await exit(sidecar), { code: 0, signal: null })
    })

    test('a reader that goes away leaves the proxy working, and the lines counted', async t => {
      const { sidecar, out, failMany, echoes } = await start(t, { kind })
      out.goAway()
      await failMany(50)
      await echoes()
      const dropped = await sidecar.eventually(async () => {
        const lines = await sidecar.metric('sidesplice_log_lines_dropped_total')
        return lines >= 50 && lines
      }, '50 lost lines')
      assert.ok(dropped <= 60, `${dropped} lines, of which 50 were access lines`)
      assert.equal((await sidecar.get('/ready')).status, 200)
      sidecar.command.signal('SIGTERM')
      assert.deepEqual(await exit(sidecar), { code: 0, signal: null })
    })
  })
}

test('the reader of a named pipe that is started anew reads on', async t => {
  const { sidecar, out, failMany, pipe } = await start(t, { kind: 'pipe' })
  out.goAway()
  await failMany(5)
  await sidecar.eventually(
    async () => (await sidecar.metric('sidesplice_log_lines_dropped_total')) >= 5,
    'the lines to be lost',
  )
  const again = pipe?.readAnew()
  await failMany(1)
  assert.match((await again?.line('log lines were dropped')) ?? '', / WARN .* lines=\d+$/)
  assert.equal(again?.linesWith(' session ended ').length, 1)
})

test('a full disk leaves the proxy working, and the lines counted', async t => {
  const full = openSync('/dev/full', 'w')
  t.after(() => closeSync(full))
  const sidecar = await launchSidecar(t, {}, { stdio: ['ignore', full, 'pipe'] })
  await eventually(async () => (await sidecar.get('/ready')).status === 200, 'readiness')
  assert.ok((await sidecar.metric('sidesplice_log_lines_dropped_total')) > 0)
  assert.deepEqual(await sidecar.command.stop(), { code: 0, signal: null })
})

test('a file is appended to, and holds every line', async t => {
  const folder = await Folder.make(t)
  await folder.write('out.log', 'what was there\n')
  const fd = openSync(folder.file('out.log'), 'a')
  const gone = await freePort()
  const bind = await freePort()
  const sidecar = await launchSidecar(
    t,
    { upstreams: [upstreamTo(gone, bind, 'gone')] },
    { folder, stdio: ['ignore', fd, 'pipe'] },
  )
  closeSync(fd)
  await eventually(async () => (await sidecar.get('/ready')).status === 200, 'readiness')
  await connectAndBeRefused(t, bind, 200)
  await sidecar.command.stop()
  const lines = readFileSync(folder.file('out.log'), 'utf8').trimEnd().split('\n')
  assert.equal(lines[0], 'what was there')
  assert.match(lines[1] ?? '', / INFO {2}data plane chosen /)
  assert.equal(lines.filter(line => line.includes(' session ended ')).length, 200)
  assert.match(lines.at(-1) ?? '', / INFO {2}stopped /)
})

test('errors before the start go to standard error alone', async t => {
  const checked = await check(t, { nonsense: 1 }, { args: [] })
  assert.equal(checked.code, 1)
  assert.equal(checked.stdout, '')
  assert.equal(checked.problems.length, 1)
})

test('once it has started all goes to standard output', async t => {
  const sidecar = await startSidecar(t, {})
  await sidecar.folder.write('sidecar.json', '{')
  await sidecar.command.line('configuration refused')
  await sidecar.command.stop()
  assert.equal(sidecar.command.stderr, '')
})

interface Started {
  readonly sidecar: RunningSidecar
  readonly out: LogReader
  readonly pipe: NamedPipe | undefined
  /** Sessions that reach no endpoint: each gives a line at once. */
  readonly failMany: (count: number) => Promise<void>
  /** A session that works, from its beginning to its end. */
  readonly echoes: () => Promise<void>
}

/** A sidecar whose standard output the test reads, with one upstream that works and one that is gone. */
async function start(
  t: TestContext,
  { kind, lineBytes = 1 }: { readonly kind: OutputKind; readonly lineBytes?: number },
): Promise<Started> {
  const db = await openTlsServer(t, { certificate: mesh.db, root: mesh.root, serve: echo })
  const works = await freePort()
  const gone = await freePort()
  const folder = await Folder.make(t)
  const pipe = kind === 'pipe' ? new NamedPipe(t, folder) : undefined
  const sidecar = await launchSidecar(
    t,
    {
      upstreams: [
        { ...upstreamTo(db.address, works), expect: [spiffeId('db')] },
        // Its name stands in each of its lines.
        upstreamTo(await freePort(), gone, 'x'.repeat(lineBytes)),
      ],
    },
    { folder, stdio: ['ignore', pipe?.writeFd ?? 'pipe', 'pipe'] },
  )
  pipe?.handedOver()
  const { stdout } = sidecar.command.child
  const out = pipe?.reader ?? new LogReader(t, stdout ?? assert.fail('no standard output'))
  await out.line(' ready ')
  return {
    sidecar,
    out,
    pipe,
    failMany: count => connectAndBeRefused(t, gone, count),
    echoes: async () => {
      const client = connect(t, works)
      await client.echoes('hello')
      client.socket.end()
      await client.ends()
    },
  }
}

/** Connections that the sidecar ends because no endpoint is there, some at a time, each to its end. */
async function connectAndBeRefused(t: TestContext, address: Address, count: number): Promise<void> {
  let left = count
  const one = async () => {
    while (left-- > 0) {
      const client = connect(t, address)
      await once(client.socket, 'close').catch(() => {})
    }
  }
  await Promise.all(Array.from({ length: 16 }, one))
}

/** Its end without that of its output, which may have no reader. */
async function exit({ command }: RunningSidecar): Promise<Ended> {
  const { child } = command
  await until(() => child.exitCode !== null || child.signalCode !== null, 'the end', patienceMs)
  return { code: child.exitCode, signal: child.signalCode }
}

function residentBytes(pid: number): number {
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kibibytes) * 1024
}
