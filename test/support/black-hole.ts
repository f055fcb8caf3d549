// Addresses where connecting neither succeeds nor fails: a listener that does not accept, its backlog filled up.
import net, { type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { Worker } from 'node:worker_threads'
import type { Address } from '../../src/address.ts'

// A thread of its own that stands still once it listens: its loop accepts nothing.
const listenAndStandStill = `
  const { parentPort, workerData } = require('node:worker_threads')
  const server = require('node:net').createServer()
  server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
    parentPort.postMessage(server.address().port)
    Atomics.wait(workerData, 0, 0)
  })`
// A connection on loopback that is not there by then is not coming.
const connectsWithinMs = 200
// The kernel takes one more than the backlog; a few at most.
const maxFillers = 8

/** One that never accepts. */
export async function openBlackHole(t: TestContext): Promise<Address> {
  return (await openSlowApp(t)).address
}

/** One that accepts once it is opened. */
export async function openSlowApp(t: TestContext): Promise<{ readonly address: Address; open(): void }> {
  const gate = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(listenAndStandStill, { eval: true, workerData: gate })
  const fillers: Socket[] = []
  t.after(async () => {
    for (const filler of fillers) filler.destroy()
    await worker.terminate()
  })
  const port = await new Promise<number>((resolve, reject) =>
    worker.once('message', resolve).once('error', reject),
  )
  const address = { host: '127.0.0.1', port }
  while (fillers.length < maxFillers) {
    const filler = net.connect(address)
    filler.on('error', () => {})
    fillers.push(filler)
    if (!(await connects(filler))) {
      return {
        address,
        open() {
          Atomics.store(gate, 0, 1)
          Atomics.notify(gate, 0)
        },
      }
    }
  }
  throw new Error(`${maxFillers} connections got through, expected the backlog to be full`)
}

function connects(socket: Socket): Promise<boolean> {
  return new Promise(resolve => {
    const limit = setTimeout(() => resolve(false), connectsWithinMs)
    socket.once('connect', () => {
      clearTimeout(limit)
      resolve(true)
    })
  })
}
