// The server side of TLS handshakes for one identity: accepted sockets in, verified TLS sockets or failures out.
import type { Socket } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import { errorCode } from '../../errors.ts'

export interface HandshakeEvents {
  readonly secured: (socket: TLSSocket) => void
  /** An OpenSSL or Node error code; the connection closes by itself, behind the alert where OpenSSL sends one. */
  readonly failed: (code: string) => void
}

/**
 * One tls.Server that never listens. Its events carry the TLS socket and not the accepted one, so the two are matched by the
 * addresses of the connection, which are unique while it lives.
 */
export class ServerHandshakes {
  readonly #server: tls.Server
  readonly #pending = new Map<string, HandshakeEvents>()

  /** @throws what tls.createServer throws for options that OpenSSL does not take */
  constructor(options: tls.TlsOptions) {
    this.#server = tls.createServer({ ...options, requestCert: true, rejectUnauthorized: true })
    this.#server.on('secureConnection', socket => {
      socket.allowHalfOpen = true
      this.#take(socket)?.secured(socket)
    })
    this.#server.on('tlsClientError', (error, socket) => this.#take(socket)?.failed(errorCode(error)))
  }

  /** @returns forgets the handshake; the socket is the caller's to end */
  begin(socket: Socket, events: HandshakeEvents): () => void {
    const key = connectionKey(socket)
    this.#pending.set(key, events)
    // A peer that closes within its handshake, as a TCP health check does, is gone: Node says so only where half-open is not
    // allowed. The TLS socket takes the setting over.
    socket.allowHalfOpen = false
    this.#server.emit('connection', socket)
    return () => this.#pending.delete(key)
  }

  #take(socket: Socket): HandshakeEvents | undefined {
    const key = connectionKey(socket)
    const events = this.#pending.get(key)
    this.#pending.delete(key)
    return events
  }
}

function connectionKey(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`
}
