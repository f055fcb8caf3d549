// The server side of TLS handshakes for one identity: accepted sockets in, verified TLS sockets or failures out.
import type { Socket } from 'node:net'
import tls, { type SecureContext, type TLSSocket } from 'node:tls'
import { errorCode } from '../../errors.ts'

// What setTimeout takes at most.
const longestTimeoutMs = 2_147_483_647

export interface HandshakeEvents {
  readonly secured: (socket: TLSSocket) => void
  /** An OpenSSL or Node error code; the connection closes by itself, behind the alert where OpenSSL sends one. */
  readonly failed: (code: string) => void
}

/**
 * One tls.Server that never listens. It leans on two fields of Node's that are not documented (checked on Node 22 to 26; the
 * conformance suite does without neither): should one be gone, no handshake succeeds, so that nobody gets in by it.
 */
export class ServerHandshakes {
  readonly #server: tls.Server
  readonly #pending = new Map<Socket, HandshakeEvents>()

  constructor(context: SecureContext) {
    this.#server = tls.createServer({
      requestCert: true,
      rejectUnauthorized: true,
      // The session has a deadline of its own; Node's would end it after two minutes.
      handshakeTimeout: longestTimeoutMs,
    })
    // tls.createServer passes on the options that it knows, and allowPartialTrustChain is not among them.
    Object.assign(this.#server, { _sharedCreds: context })
    this.#server.on('secureConnection', socket => {
      socket.allowHalfOpen = true
      this.#take(socket)?.secured(socket)
    })
    this.#server.on('tlsClientError', (error, socket) => {
      // A chain that was not accepted: Node closes the connection, and the error says no more than that.
      const { authorizationError } = socket as { authorizationError?: unknown }
      this.#take(socket)?.failed(authorizationError ? errorCode(authorizationError) : errorCode(error))
    })
  }

  /** @returns forgets the handshake; the socket is the caller's to end */
  begin(socket: Socket, events: HandshakeEvents): () => void {
    this.#pending.set(socket, events)
    // A peer that closes within its handshake, as a TCP health check does, is gone: Node says so only where half-open is not
    // allowed. The TLS socket takes the setting over.
    socket.allowHalfOpen = false
    this.#server.emit('connection', socket)
    return () => this.#pending.delete(socket)
  }

  #take(socket: TLSSocket): HandshakeEvents | undefined {
    // The accepted socket. Their addresses would match too, but a socket that has closed has lost them.
    const { _parent: accepted } = socket as { _parent?: Socket }
    if (accepted === undefined) return undefined
    const events = this.#pending.get(accepted)
    this.#pending.delete(accepted)
    return events
  }
}
