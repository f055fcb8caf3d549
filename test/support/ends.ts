// The ends of a connection as tests hold them: what an application that talks through the proxy sends and sees.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import net, { type Server } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TestContext } from 'node:test'
import { type Address, socketAddress, socketPathOf } from '../../src/address.ts'
import { until } from './until.ts'

// As much of the received bytes as a test could want to compare by text.
const keptBytes = 64 * 1024

export class End {
  readonly socket: Duplex
  received = 0
  /** Whether the other end closed its direction cleanly. */
  ended = false
  closed = false
  error: string | undefined
  /** What the error says beside its code. */
  errorText = ''
  readonly #kept: Buffer[] = []
  #keptBytes = 0
  readonly #digest = createHash('sha1')

  constructor(socket: Duplex) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.received += chunk.length
      this.#digest.update(chunk)
      if (this.#keptBytes < keptBytes) this.#kept.push(Buffer.from(chunk))
      this.#keptBytes += chunk.length
    })
    socket.on('end', () => {
      // Behind an error, as a TLS socket may say it, it is no clean one.
      if (wasReset(socket)) this.error ??= 'ECONNRESET'
      if (this.error === undefined) this.ended = true
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.errorText ||= error.message
      this.error ??= error.code ?? error.message
    })
    socket.on('close', () => {
      this.closed = true
    })
  }

  get text(): string {
    return Buffer.concat(this.#kept).toString()
  }

  digest(): string {
    return this.#digest.copy().digest('hex')
  }

  send(data: string | Buffer): void {
    this.socket.write(data)
  }

  reset(): void {
    reset(this.socket)
  }

  /** Waits until just this has been received. */
  async gets(text: string): Promise<void> {
    await until(
      () => this.text.length >= text.length || this.error !== undefined || this.closed,
      `${JSON.stringify(text)}`,
    )
    assert.equal(this.text, text, this.error)
  }

  /** Says something and waits for it to come back. */
  async echoes(text: string): Promise<void> {
    const before = this.text
    this.send(text)
    await this.gets(before + text)
  }

  /** Waits for the other end's clean close of its direction. */
  async ends(): Promise<void> {
    await until(() => this.ended || this.error !== undefined || this.closed, 'a clean end')
    assert.equal(this.error, undefined)
    assert.equal(this.ended, true, 'closed without a clean end')
  }

  /** Waits for the end by an error, that is not preceded by a clean end. */
  async fails(): Promise<string> {
    await until(() => this.error !== undefined || this.closed || this.ended, 'an error')
    assert.equal(this.ended, false, 'it ended cleanly')
    assert.ok(this.error !== undefined, 'it closed without an error')
    return this.error
  }

  /** Waits until the connection is over, whichever way. */
  async isOver(): Promise<void> {
    await until(() => this.closed || this.ended || this.error !== undefined, 'the end of the connection')
  }
}

/** On Node 22 a reset that arrives together with data is told as an end (libuv 1.51); getpeername(2) knows better. */
function wasReset(socket: Duplex): boolean {
  if (socket.writableEnded) return false
  const { _handle: handle } = socket as { _handle?: { getpeername?(out: object): number } | null }
  return (handle?.getpeername?.({}) ?? 0) !== 0
}

/** Closes by an RST alone; `resetAndDestroy` sends a FIN before it. */
export function reset(socket: Duplex): void {
  Object.assign(socket, { resetAndClosing: true }).destroy()
}

/** A plaintext connection from the application's side. */
export function connect(t: TestContext, address: Address): End {
  const socket = net.connect({ ...placeOf(address), allowHalfOpen: true, noDelay: true })
  t.after(() => socket.destroy())
  return new End(socket)
}

function placeOf(address: Address): Address | { readonly path: string } {
  const path = socketPathOf(address)
  return path === undefined ? address : { path }
}

export class App {
  readonly address: Address
  readonly server: Server
  readonly connections: End[] = []

  constructor(server: Server) {
    this.server = server
    const at = server.address()
    if (at === null) throw new Error('the app does not listen')
    this.address = typeof at === 'string' ? socketAddress(at) : { host: at.address, port: at.port }
  }

  /** Waits for the connection with this number, from 0 on. */
  connection(at = 0): Promise<End> {
    return until(() => this.connections[at], `connection ${at} to reach the app`)
  }

  close(): void {
    this.server.close()
    for (const { socket } of this.connections) socket.destroy()
  }
}

export interface AppOptions {
  /** A unix socket instead of a port. */
  readonly path?: string
  readonly host?: string
  readonly port?: number
  readonly serve?: (end: End) => void
}

/** The local app; silent unless `serve` says otherwise. */
export async function openApp(
  t: TestContext,
  { host = '127.0.0.1', port = 0, path, serve }: AppOptions = {},
): Promise<App> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    server
      .once('error', reject)
      .listen({ ...(path === undefined ? { host, port } : { path }), backlog: 4096 }, resolve)
  })
  const app = new App(server)
  server.on('connection', socket => {
    const end = new End(socket)
    app.connections.push(end)
    serve?.(end)
  })
  t.after(() => app.close())
  return app
}

/** Sends everything back and closes when the other end does. */
export function echo({ socket }: End): void {
  socket.pipe(socket)
}

/** An address of loopback that nothing listens on. */
export async function freeAddress(host = '127.0.0.1'): Promise<Address> {
  const server = net.createServer()
  await new Promise<void>(resolve => server.listen(0, host, resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise(resolve => server.close(resolve))
  return { host, port }
}

/** Sends `bytes` bytes of a pattern by the socket's own pace; resolves with their digest once they were handed over. */
export async function sendMany(end: End, bytes: number): Promise<string> {
  const digest = createHash('sha1')
  const block = Buffer.alloc(256 * 1024)
  for (let at = 0; at < block.length; at++) block[at] = (at * 31 + (at >> 8)) & 0xff
  for (let left = bytes; left > 0; ) {
    const chunk = block.subarray(0, Math.min(left, block.length))
    left -= chunk.length
    digest.update(chunk)
    if (!end.socket.write(chunk)) {
      await new Promise<void>(resolve => {
        const done = () => {
          end.socket.off('drain', done).off('close', done)
          resolve()
        }
        end.socket.on('drain', done).on('close', done)
      })
    }
    if (end.closed) break
  }
  return digest.digest('hex')
}
