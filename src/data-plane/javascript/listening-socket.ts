// A listening socket of node:net.
import net, { type Server, type Socket } from 'node:net'
import type { ListenerSpec } from '../interface.ts'
import type { ListeningSocket } from '../listening-sockets.ts'
import { socketOptions } from './dial.ts'

// listen(2) caps it at net.core.somaxconn.
const backlog = 4096
// The loop accepts all that is queued in its poll phase, so a turn without a connection has emptied it.
const maxTurns = 100

export class NetListeningSocket implements ListeningSocket {
  readonly #server: Server
  #spec: ListenerSpec
  #accepted = 0

  private constructor(spec: ListenerSpec, accept: (socket: Socket, spec: ListenerSpec) => void) {
    this.#spec = spec
    this.#server = net.createServer(socketOptions)
    this.#server.on('connection', socket => {
      this.#accepted++
      accept(socket, this.#spec)
    })
  }

  static async open(
    spec: ListenerSpec,
    accept: (socket: Socket, spec: ListenerSpec) => void,
  ): Promise<ListeningSocket> {
    const opened = new NetListeningSocket(spec, accept)
    await opened.#listen()
    // accept(2) fails without descriptors or memory; the listener outlives it.
    opened.#server.on('error', () => {})
    return opened
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : this.#spec.bind.port
  }

  change(spec: ListenerSpec): void {
    this.#spec = spec
  }

  /** Waits for the socket only: `close` of a server waits for its connections too. */
  close(): Promise<void> {
    this.#server.close()
    return new Promise(resolve => setImmediate(resolve))
  }

  async takeQueuedAndClose(): Promise<void> {
    for (let turn = 0, before = -1; turn < maxTurns && before !== this.#accepted; turn++) {
      before = this.#accepted
      await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    }
    this.#server.close()
  }

  #listen(): Promise<void> {
    const { host, port } = this.#spec.bind
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port, backlog }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }
}
