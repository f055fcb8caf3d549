// The apps on both sides of two sidecars, on a thread of their own: they live on while the sidecars' thread stands still.
// Run as a worker; speaks with its parent by messages.
import net, { type Socket } from 'node:net'
import { parentPort } from 'node:worker_threads'
import type { Address } from '../../src/address.ts'

export type ToWorld =
  | { readonly type: 'connect'; readonly address: Address; readonly count: number; readonly word: string }
  | { readonly type: 'say'; readonly word: string }
  | { readonly type: 'stop' }
export type FromWorld =
  | { readonly type: 'app'; readonly address: Address }
  /** Everybody who said the word has heard it back, or `failed`. */
  | { readonly type: 'heard'; readonly word: string; readonly failed: readonly string[] }

const clients: Socket[] = []
const connections: Socket[] = []
const tell = (message: FromWorld) => parentPort?.postMessage(message)

const app = net.createServer({ allowHalfOpen: true }, socket => {
  connections.push(socket)
  socket.on('error', () => {}).pipe(socket)
})
app.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  tell({ type: 'app', address: { host: '127.0.0.1', port: (app.address() as net.AddressInfo).port } })
})

parentPort?.on('message', (message: ToWorld) => {
  if (message.type === 'stop') {
    app.close()
    for (const socket of [...clients, ...connections]) socket.destroy()
    parentPort?.close()
    return
  }
  const talking =
    message.type === 'say' ? [...clients] : Array.from({ length: message.count }, () => dial(message.address))
  const { word } = message
  void Promise.all(talking.map(socket => say(socket, word))).then(results => {
    tell({ type: 'heard', word, failed: results.filter(result => result !== '') })
  })
})

function dial(address: Address): Socket {
  const socket = net.connect(address)
  clients.push(socket)
  return socket
}

/** Resolves with nothing once the word came back, or with why it did not. */
function say(socket: Socket, word: string): Promise<string> {
  return new Promise(resolve => {
    let heard = ''
    const onData = (data: Buffer) => {
      heard += data.toString()
      if (heard === word) done('')
    }
    const onError = (error: NodeJS.ErrnoException) => done(error.code ?? error.message)
    const onEnd = () => done('ended')
    const done = (result: string) => {
      socket.off('data', onData).off('error', onError).off('end', onEnd)
      socket.on('error', () => {})
      resolve(result)
    }
    socket.on('data', onData).on('error', onError).on('end', onEnd)
    socket.write(word)
  })
}
