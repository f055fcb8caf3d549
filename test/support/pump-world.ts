// The apps on both sides of two sidecars, on a thread of their own, that send without an end: how much came back is counted where the
// sidecars' thread can see it at once, however long it stood still.
import net from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import type { Address } from '../../src/address.ts'

const counted = new BigInt64Array(workerData as SharedArrayBuffer)
const block = Buffer.alloc(64 * 1024, 'b')
const sockets: net.Socket[] = []

const app = net.createServer(socket => {
  sockets.push(socket)
  socket.on('error', () => {}).pipe(socket)
})
app.listen(0, '127.0.0.1', () => parentPort?.postMessage((app.address() as net.AddressInfo).port))

parentPort?.on('message', (message: Address | 'stop') => {
  if (message === 'stop') {
    app.close()
    for (const socket of sockets) socket.destroy()
    parentPort?.close()
    return
  }
  const socket = net.connect(message)
  sockets.push(socket)
  const pump = () => {
    while (!socket.destroyed && socket.write(block));
  }
  socket
    .on('connect', pump)
    .on('drain', pump)
    .on('error', () => {})
  socket.on('data', chunk => Atomics.add(counted, 0, BigInt(chunk.length)))
})
