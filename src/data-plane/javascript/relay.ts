// Moving the bytes of one session in JavaScript: two pumps, each with its own end, and the timeouts of a session that moves
// none. Knows two duplex streams and nothing of how they came to be.
import type { Duplex } from 'node:stream'
import { errorCode } from '../../errors.ts'
import { after, type Deadline } from '../deadline.ts'
import type { Session } from './session.ts'
import { alertName } from './tls.ts'

export type Side = 'downstream' | 'upstream'

export type RelayEnd =
  | { readonly kind: 'closed' }
  | { readonly kind: 'timeout'; readonly reason: 'half_close_timeout' | 'idle_timeout' }
  | { readonly kind: 'aborted'; readonly side: Side; readonly detail: string }
  /** Upstream went away before a byte moved; downstream is as it was and can be relayed to another. */
  | { readonly kind: 'unused'; readonly detail: string }

export interface RelayOptions {
  readonly session: Session
  readonly downstream: Duplex
  readonly upstream: Duplex
  /** Whether the end of `upstream`, before any byte, is a cut and no end: what TLS can't tell from JavaScript otherwise. */
  readonly wasCut?: () => boolean
  readonly onUpstreamByte: () => void
  readonly end: (end: RelayEnd) => void
}

/** Starts the relay. `end` is called once. The returned function stops it without touching either stream's connection. */
export function relay(options: RelayOptions): () => void {
  const { session, downstream, upstream, wasCut } = options
  const listening: [Duplex, string, (...args: never[]) => void][] = []
  let over = false
  const up = { from: downstream, to: upstream, side: 'downstream' as Side, ended: downstream.readableEnded }
  const down = { from: upstream, to: downstream, side: 'upstream' as Side, ended: false }
  const quiet = watchQuiet(
    session,
    [downstream, upstream],
    () => up.ended || down.ended,
    reason => finish({ kind: 'timeout', reason }),
  )

  pump(up, bytes => {
    session.bytesToUpstream += bytes
    session.tally.bytesToUpstream += bytes
  })
  pump(down, bytes => {
    if (session.bytesToDownstream === 0) options.onUpstreamByte()
    session.bytesToDownstream += bytes
    session.tally.bytesToDownstream += bytes
  })
  if (up.ended) upstream.end()
  return stop

  function pump(half: typeof up, count: (bytes: number) => void): void {
    const { from, to, side } = half
    // The end goes out once all before it has left the process: a reset can't take the place of an end that is under way.
    let queued = 0
    const written = () => {
      queued--
      if (queued === 0 && half.ended && !over) to.end()
    }
    on(from, 'data', (chunk: Buffer) => {
      count(chunk.length)
      quiet.moved()
      queued++
      if (!to.write(chunk, written)) from.pause()
    })
    on(to, 'drain', () => {
      quiet.moved()
      from.resume()
    })
    on(from, 'end', () => {
      if (session.wasReset(from)) return failed(side, 'ECONNRESET')
      if (side === 'upstream' && session.unused && wasCut?.() === true)
        return finish({ kind: 'unused', detail: 'closed without close_notify' })
      half.ended = true
      quiet.closed()
      if (queued === 0) to.end()
    })
    on(from, 'error', (error: unknown) => {
      const code = errorCode(error)
      const alert = alertName(code)
      failed(side, alert === undefined ? code : `alert ${alert}`)
    })
    on(from, 'close', () => {
      if (!from.readableEnded) return failed(side, 'closed')
      // Both ends were read; a side that closed without having sent all that it was given has lost it.
      if (!from.writableFinished) return failed(side, 'closed before all was sent')
      if (downstream.closed && upstream.closed) finish({ kind: 'closed' })
    })
    // A stream that was read by an earlier relay of this session was left paused.
    if (!half.ended) from.resume()
  }

  function failed(side: Side, detail: string): void {
    if (side === 'upstream' && session.unused && !downstream.destroyed)
      return finish({ kind: 'unused', detail })
    finish({ kind: 'aborted', side, detail })
  }

  function finish(end: RelayEnd): void {
    if (over) return
    stop()
    options.end(end)
  }

  function stop(): void {
    over = true
    quiet.cancel()
    for (const [stream, event, listener] of listening) stream.off(event, listener as () => void)
    downstream.pause()
  }

  function on(stream: Duplex, event: string, listener: (...args: never[]) => void): void {
    listening.push([stream, event, listener])
    stream.on(event, listener as () => void)
  }
}

/** What it means where the peer's first word after the handshake was this end of the stream. */
export function firstRecord(
  detail: string,
): ['denied_by_peer' | 'peer_app_unreachable' | 'closed_before_first_byte', string] {
  if (!detail.startsWith('alert ')) return ['closed_before_first_byte', detail]
  return [detail === 'alert internal_error' ? 'peer_app_unreachable' : 'denied_by_peer', detail]
}

// How often a quiet session is looked at within its limit: it ends at most a quarter late, never early.
const looksPerLimit = 4

/** Calls `expire` when no byte has moved for as long as the session may be quiet, given whether a half of it is closed. */
function watchQuiet(
  session: Session,
  streams: readonly Duplex[],
  halfClosed: () => boolean,
  expire: (reason: 'half_close_timeout' | 'idle_timeout') => void,
) {
  const { halfCloseTimeoutMs, idleTimeoutMs } = session.spec
  let movedAt = performance.now()
  let queued = 0
  let timer: Deadline | undefined
  schedule()
  return { moved, closed, cancel: () => timer?.cancel() }

  function moved(): void {
    movedAt = performance.now()
  }

  function closed(): void {
    moved()
    timer?.cancel()
    schedule()
  }

  function limits():
    | { readonly ms: number; readonly reason: 'half_close_timeout' | 'idle_timeout' }
    | undefined {
    const half = halfClosed()
    if (half && (idleTimeoutMs === 0 || halfCloseTimeoutMs <= idleTimeoutMs))
      return { ms: halfCloseTimeoutMs, reason: 'half_close_timeout' }
    return idleTimeoutMs === 0 ? undefined : { ms: idleTimeoutMs, reason: 'idle_timeout' }
  }

  function schedule(): void {
    const limit = limits()
    if (limit === undefined) return
    timer = after(limit.ms / looksPerLimit, () => {
      // A slow reader takes bytes without an event of ours: what waits to be written tells.
      const waiting = streams.reduce((sum, stream) => sum + stream.writableLength, 0)
      if (waiting !== queued) moved()
      queued = waiting
      if (performance.now() - movedAt >= limit.ms) return expire(limit.reason)
      schedule()
    })
  }
}
