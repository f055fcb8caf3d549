// Reaching one endpoint: TCP, TLS handshake, certificate, identity, within one time limit.
import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import tls, { type TLSSocket } from 'node:tls'
import { errorCode } from '../../errors.ts'
import { parseSpiffeId } from '../../identity/spiffe-id.ts'
import { uriSans } from '../../identity/uri-sans.ts'
import { after, type Deadline } from '../deadline.ts'
import type { PlannedAttempt } from '../interface.ts'
import type { AttemptOutcome } from '../reasons.ts'
import type { Core } from './core.ts'
import { dial } from './dial.ts'
import { certificateRefusal, presentedCertificates, staleTrustRefusal } from './peer-certificate.ts'
import type { Step } from './route.ts'
import type { Session } from './session.ts'
import { alertName, isCertificateAlert, isCertificateError, type TlsIdentity } from './tls.ts'

export interface PeerConnection {
  readonly socket: TLSSocket
  readonly raw: Socket
  /** The SPIFFE ID that it proved. */
  readonly uri: string
  readonly connectMs: number
  readonly handshakeMs: number
  /** Whether nothing at all has come since the handshake: an end now is a cut, as not even close_notify came. */
  readonly wasCut: () => boolean
  /** Why its certificates are refused under the roots of now, where these have changed since the handshake began. */
  readonly refusalNow: () => string | undefined
}

export interface PeerFailure {
  readonly failure: AttemptOutcome
  readonly detail: string
  readonly connectMs?: number
  readonly handshakeMs?: number
}

/** @throws SessionOver */
export async function connectPeer(
  session: Session,
  core: Core,
  { planned, limitMs }: Step,
): Promise<PeerConnection | PeerFailure> {
  // One limit for both parts, and one that a stall does not shorten.
  const limit = after(limitMs, () => {})
  try {
    return await reach(session, core, { planned, limit })
  } finally {
    limit.cancel()
  }
}

async function reach(
  session: Session,
  core: Core,
  { planned, limit }: { readonly planned: PlannedAttempt; readonly limit: Deadline },
): Promise<PeerConnection | PeerFailure> {
  const identity = core.identity()
  if (identity === undefined) return { failure: 'handshake_failed', detail: 'no certificate of our own yet' }
  const startedAt = performance.now()
  const dialed = await dial(session, planned.address, limit.leftMs())
  const connectMs = performance.now() - startedAt
  if ('failure' in dialed) return { ...dialed, connectMs }

  const raw = dialed.socket
  core.ownDials.note(raw)
  const shaken = await handshake(session, raw, {
    identity,
    serverName: planned.serverName ?? planned.address.host,
    limitMs: Math.max(1, limit.leftMs()),
  })
  const handshakeMs = performance.now() - startedAt - connectMs
  const fail = (failure: AttemptOutcome, detail: string): PeerFailure => {
    raw.destroy()
    return { failure, detail, connectMs, handshakeMs }
  }
  if ('failure' in shaken) return fail(shaken.failure, shaken.detail)

  const { socket, wasCut } = shaken
  const presented = presentedCertificates(socket)
  const [leaf] = presented
  const refusal = certificateRefusal(presented, identity, 'server')
  if (leaf === undefined || refusal !== undefined)
    return fail('peer_certificate_refused', refusal ?? 'none presented')
  const sans = uriSans(leaf)
  const uri = sans.length === 1 ? canonical(sans[0] ?? '') : undefined
  if (uri === undefined || !planned.expect.includes(uri)) {
    const got = sans.join(' ').slice(0, longestShown) || 'no URI SAN'
    return fail('identity_mismatch', `got ${got}, expected ${planned.expect.join(' or ')}`)
  }
  return {
    socket,
    raw,
    uri,
    connectMs,
    handshakeMs,
    wasCut,
    refusalNow: () =>
      staleTrustRefusal(presented, { used: identity, now: core.identity(), purpose: 'server' }),
  }
}

// What a peer wrote into its certificate goes to a log line: cut.
const longestShown = 300

/** The same ID in the letters that `expect` is written in: scheme and trust domain have no case. */
function canonical(uri: string): string | undefined {
  try {
    return parseSpiffeId(uri).uri
  } catch {
    return undefined
  }
}

interface HandshakeOptions {
  readonly identity: TlsIdentity
  readonly serverName: string
  readonly limitMs: number
}
type Shaken =
  | { readonly socket: TLSSocket; readonly wasCut: () => boolean }
  | { readonly failure: AttemptOutcome; readonly detail: string }

function handshake(
  session: Session,
  raw: Socket,
  { identity, serverName, limitMs }: HandshakeOptions,
): Promise<Shaken> {
  return session.wait<Shaken>(resolve => {
    const socket = tls.connect({
      socket: raw,
      secureContext: identity.context,
      // SNI holds host names only (RFC 6066 section 3).
      ...(isIP(serverName) === 0 && { servername: serverName }),
      rejectUnauthorized: true,
      // Who the peer is, its SPIFFE ID says; checked by the caller.
      checkServerIdentity: () => undefined,
    })
    socket.on('error', () => {})
    // Tickets of a server that sends them come after the handshake and say nothing of the session. close_notify may come in the
    // same read as the last of them, and is then counted with it; its end is told within that turn of the loop, while the end of
    // the TCP connection alone is a read of its own, in a later one.
    let handshakeBytes = 0
    let inThisTurn = false
    const noteHandshake = () => {
      handshakeBytes = raw.bytesRead
      if (inThisTurn) return
      inThisTurn = true
      setImmediate(() => {
        inThisTurn = false
      })
    }
    socket.on('session', noteHandshake)
    const limit = after(limitMs, () =>
      resolve({ failure: 'handshake_timeout', detail: `not done in ${Math.round(limitMs)} ms` }),
    )
    const onSecure = () => {
      noteHandshake()
      resolve({ socket, wasCut: () => raw.bytesRead === handshakeBytes && !inThisTurn })
    }
    const onError = (error: Error) => resolve(handshakeFailure(errorCode(error)))
    const onClose = () => resolve({ failure: 'handshake_failed', detail: 'closed by the peer' })
    socket.once('secureConnect', onSecure).once('error', onError).once('close', onClose)
    return () => {
      limit.cancel()
      socket.off('secureConnect', onSecure).off('error', onError).off('close', onClose)
    }
  })
}

function handshakeFailure(code: string): { readonly failure: AttemptOutcome; readonly detail: string } {
  if (isCertificateError(code)) return { failure: 'peer_certificate_refused', detail: code }
  const alert = alertName(code)
  if (alert === undefined) return { failure: 'handshake_failed', detail: code }
  // TLS 1.2 judges our certificate within the handshake.
  return {
    failure: isCertificateAlert(alert) ? 'denied_by_peer' : 'handshake_failed',
    detail: `alert ${alert}`,
  }
}
