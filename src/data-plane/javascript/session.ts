// One proxied connection of the JavaScript data plane: where it stands, what it waits for, what its record will say.
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { defined } from '../../defined.ts'
import type {
  AttemptRecord,
  ListenerSpec,
  SessionId,
  SessionRecord,
  SessionState,
  SessionView,
} from '../interface.ts'
import type { EndReason } from '../reasons.ts'
import type { ListenerTally } from './tally.ts'

/** Thrown through a session's own functions once it has ended: whoever ended it has said why. */
export class SessionOver extends Error {}

export class Session {
  readonly id: SessionId
  readonly spec: ListenerSpec
  readonly tally: ListenerTally
  /** The accepted TCP connection. */
  readonly downstream: Socket
  state: SessionState
  peer: string | undefined
  endpoint: string | undefined
  relayed = false
  policyMs: number | undefined
  connectMs: number | undefined
  handshakeMs: number | undefined
  tlsVersion: string | undefined
  cipher: string | undefined
  bytesToUpstream = 0
  bytesToDownstream = 0
  readonly attempts: AttemptRecord[] = []
  /** Every TCP connection of the session with the stream that it carries, TLS or itself; reset when the session is aborted. */
  readonly #sockets = new Map<Socket, Duplex>()
  /** What has to be put right when it ends, wherever it stands; set by who has something under way. */
  onEnd: (() => void) | undefined

  readonly #downstreamAddress: string | undefined
  readonly #startedAt = Date.now()
  readonly #startedMonotonic = performance.now()
  readonly #report: (record: SessionRecord) => void
  #over = false
  #interrupt: (() => void) | undefined

  constructor(facts: {
    readonly id: SessionId
    readonly spec: ListenerSpec
    readonly tally: ListenerTally
    readonly downstream: Socket
    readonly report: (record: SessionRecord) => void
  }) {
    this.id = facts.id
    this.spec = facts.spec
    this.tally = facts.tally
    this.downstream = facts.downstream
    this.#report = facts.report
    this.state = facts.spec.direction === 'inbound' ? 'handshaking' : 'deciding'
    const { remoteAddress, remotePort } = facts.downstream
    if (remoteAddress !== undefined) {
      this.#downstreamAddress = remoteAddress.includes(':')
        ? `[${remoteAddress}]:${remotePort}`
        : `${remoteAddress}:${remotePort}`
    }
    this.own(facts.downstream)
  }

  get over(): boolean {
    return this.#over
  }

  /** Whether no byte has moved in either direction. */
  get unused(): boolean {
    return this.bytesToUpstream === 0 && this.bytesToDownstream === 0
  }

  /** What it means that whoever opened the connection has reset it: a health check does so without a byte. */
  get abandoned(): EndReason {
    const silent = this.relayed ? this.unused : this.downstream.bytesRead === 0
    return silent ? 'closed_before_first_byte' : 'downstream_reset'
  }

  own(socket: Socket): void {
    this.#sockets.set(socket, socket)
    // Whoever waits on the socket listens by itself; this one keeps an error between two waits from ending the process.
    socket.on('error', ignore)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  /**
   * Waits for one thing. `start` begins it and returns what undoes it, which runs once, whichever way the wait ends.
   * @throws SessionOver where the session was ended meanwhile
   */
  wait<T>(start: (resolve: (value: T) => void, reject: (error: unknown) => void) => () => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#over) return reject(new SessionOver())
      let undo: (() => void) | undefined
      let settled = false
      const settle = (then: () => void) => {
        if (settled) return
        settled = true
        this.#interrupt = undefined
        undo?.()
        then()
      }
      this.#interrupt = () => settle(() => reject(new SessionOver()))
      undo = start(
        value => settle(() => resolve(value)),
        error => settle(() => reject(error)),
      )
      if (settled) undo()
    })
  }

  /**
   * Whether the connection below a stream that has just ended was in fact reset. libuv (1.51, Node 22) reports a reset that
   * arrives together with data as an end. getpeername(2) tells, as long as we have not closed our own direction.
   */
  wasReset(stream: Duplex): boolean {
    if (stream.writableEnded) return false
    const [socket] = [...this.#sockets].find(([, carried]) => carried === stream) ?? []
    const { _handle: handle } = (socket ?? {}) as { _handle?: { getpeername?(out: object): number } | null }
    return (handle?.getpeername?.({}) ?? 0) !== 0
  }

  /** Ends it: connections that are open are reset, so that nobody mistakes the end for a clean one. */
  abort(reason: EndReason, detail?: string): void {
    if (this.#over) return
    for (const [socket, stream] of this.#sockets) reset(socket, stream)
    this.#finish(reason, detail)
  }

  /** Ends it where its connections have closed or are closing by themselves (behind an alert, or cleanly). */
  finish(reason: EndReason, detail?: string): void {
    if (!this.#over) this.#finish(reason, detail)
  }

  noteTls(connection: Socket, socket: TLSSocket): void {
    if (this.#sockets.has(connection)) this.#sockets.set(connection, socket)
    this.tlsVersion = socket.getProtocol() ?? undefined
    this.cipher = socket.getCipher().standardName
  }

  view(): SessionView {
    return {
      id: this.id,
      listener: this.spec.key,
      name: this.spec.name,
      direction: this.spec.direction,
      state: this.state,
      startedAt: this.#startedAt,
      bytesToUpstream: this.bytesToUpstream,
      bytesToDownstream: this.bytesToDownstream,
      ...defined({ peer: this.peer, downstream: this.#downstreamAddress, endpoint: this.endpoint }),
    }
  }

  #finish(reason: EndReason, detail: string | undefined): void {
    this.#over = true
    const { state: _, ...view } = this.view()
    const record: SessionRecord = {
      ...view,
      reason,
      relayed: this.relayed,
      relay: 'javascript',
      attempts: this.attempts,
      durationMs: performance.now() - this.#startedMonotonic,
      ...defined({
        detail,
        policyMs: this.policyMs,
        connectMs: this.connectMs,
        handshakeMs: this.handshakeMs,
        tlsVersion: this.tlsVersion,
        cipher: this.cipher,
      }),
    }
    this.#interrupt?.()
    this.onEnd?.()
    this.#report(record)
  }
}

/**
 * Closes by an RST, at once. `resetAndDestroy` would not do: it waits for what is still queued and sends a FIN before the RST,
 * and on Node 22 that FIN arrives first and reads like a clean end. So its second half is used alone.
 *
 * libuv does not reset while a FIN is on its way (uv_tcp_close_reset). That one is a clean end that was meant: the relay ends a
 * stream only when all before has left.
 */
export function reset(socket: Socket, stream: Duplex = socket): void {
  if (socket.destroyed) return
  const ending = stream.writableEnded && !stream.writableFinished
  // A unix socket has no reset: to the other end it is a plain end, or ECONNRESET where it had sent what was not read (unix(7)).
  const { _handle: handle } = socket as { _handle?: { reset?: unknown } | null }
  if (!ending && typeof handle?.reset === 'function') Object.assign(socket, { resetAndClosing: true })
  socket.destroy()
}

function ignore(): void {}
