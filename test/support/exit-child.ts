// Two sidecars with live sessions in one process, or in a thread of it, which then ends in the way that was asked for.
import net from 'node:net'
import type { TestContext } from 'node:test'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { dataPlaneNamed } from './data-planes.ts'
import { connect, echo } from './ends.ts'
import { exitCode, type Order } from './exit-order.ts'
import { mesh } from './pki.ts'
import { openRig, type Rig } from './rig.ts'
import { listener, type Sidecar } from './sidecar.ts'
import { until } from './until.ts'

const loads = 8
const handshakes = 200
const movedBytes = 4 * 1024 * 1024
const chunk = Buffer.alloc(256 * 1024, 'x')

// Nothing here is put away at the end of a test: that is what is tried.
const forEver = { after() {} } as unknown as TestContext

const order = (isMainThread ? JSON.parse(process.argv[2] ?? '{}') : workerData) as Order
const inThread = order.way === 'terminate' || order.way === 'thread ends'
if (isMainThread && inThread) await overseeThread()
else await run()

async function run(): Promise<void> {
  const rig = await openRig(forEver, dataPlaneNamed(order.plane), {
    serve: echo,
    inbound: { handshakeTimeoutMs: 10_000 },
  })
  if (order.sessions === 'relaying') await load(rig)
  else await shakeHands(rig)
  process.stdout.write('under load\n')
  if (order.way === 'exit' || order.way === 'thread ends') process.exit(exitCode)
  if (order.way === 'terminate') parentPort?.postMessage('under load')
  if (order.way === 'throw')
    setImmediate(() => {
      throw new Error('as was asked for')
    })
  if (order.way === 'policy throws') {
    rig.b.admit = () => {
      throw new Error('as was asked for')
    }
    connect(forEver, rig.address)
  }
  if (order.way === 'close') await close(rig)
  if (order.way === 'use what is closed') await useWhatIsClosed(rig)
}

/** Sessions that move bytes both ways for as long as they live. */
async function load(rig: Rig): Promise<void> {
  let moved = 0
  for (let at = 0; at < loads; at++) {
    const { socket } = connect(forEver, rig.address)
    const push = () => {
      while (!socket.destroyed && socket.write(chunk));
    }
    socket.on('drain', push).on('data', (data: Buffer) => {
      moved += data.length
    })
    push()
  }
  await until(() => moved > movedBytes, 'bytes to move')
}

/** Connections of which some are just behind their first flight, and some have said nothing. */
async function shakeHands(rig: Rig): Promise<void> {
  for (let at = 0; at < handshakes; at++) {
    if (at % 2 === 0) connect(forEver, rig.address)
    else net.connect(rig.publicAddress.port, rig.publicAddress.host).on('error', () => {})
  }
  await until(() => rig.b.plane.sessions().some(({ state }) => state === 'handshaking'), 'handshakes')
}

async function close({ a, b, app }: Rig): Promise<void> {
  await Promise.all([a.plane.close(), b.plane.close()])
  process.stdout.write(`ended ${a.records.length} of ${accepted(a)}, ${b.records.length} of ${accepted(b)}\n`)
  app.close()
  process.exitCode = exitCode
}

function accepted({ plane }: Sidecar): number {
  return [...plane.counters().listeners.values()].reduce((sum, listener) => sum + listener.accepted, 0)
}

async function useWhatIsClosed(rig: Rig): Promise<void> {
  const { a } = rig
  await Promise.all([close(rig), a.plane.close()])
  await a.plane.close()
  a.setIdentity(mesh.web, mesh.root)
  if (a.plane.sessions().length > 0 || a.plane.terminate([1], 'shutdown') > 0)
    throw new Error('sessions live')
  if ((await a.plane.drain({ graceMs: 1_000 })).cut > 0) throw new Error('sessions were cut')
  const [report] = await a.listen(listener({ direction: 'outbound', key: 'another' })).catch(() => [])
  if (report !== undefined && report.error === undefined) throw new Error('it listens')
}

async function overseeThread(): Promise<void> {
  const thread = new Worker(new URL(import.meta.url), { workerData: order })
  const ended = new Promise<number>(resolve => thread.once('exit', resolve))
  if (order.way === 'terminate') {
    await new Promise(resolve => thread.once('message', resolve))
    await thread.terminate()
  }
  process.stdout.write(`thread ended by ${await ended}\n`)
  process.exitCode = exitCode
}
