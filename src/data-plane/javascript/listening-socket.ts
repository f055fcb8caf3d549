// A listening socket of node:net.
import net, { type Server, type Socket } from 'node:net'
import { type Address, socketPathOf } from '../../address.ts'
import type { ListenerSpec } from '../interface.ts'
import type { ListeningSocket } from '../listening-sockets.ts'
import { defaultSocketMode, listenAtPath, withFile } from '../socket-path.ts'
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
    const path = socketPathOf(spec.bind)
    const opened = new NetListeningSocket(spec, accept)
    if (path !== undefined) return opened.#openAtPath(path)
    await opened.#listen(spec.bind)
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

  async #openAtPath(path: string): Promise<ListeningSocket> {
    try {
      const mode = this.#spec.socketMode ?? defaultSocketMode
      const file = await listenAtPath({ path, mode }, at => this.#listen({ path: at }))
      this.#server.on('error', () => {})
      return withFile(this, file)
    } catch (error) {
      this.#server.close()
      throw error
    }
  }

  #listen(where: Address | { readonly path: string }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ ...where, backlog }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }
}
