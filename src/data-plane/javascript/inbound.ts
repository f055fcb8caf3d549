// A connection from a peer: handshake, certificate, admission, the local app, relay. In this order: the app sees nothing of a
// peer that was not admitted.
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { formatAddress } from '../../address.ts'
import { errorCode } from '../../errors.ts'
import { uriSans } from '../../identity/uri-sans.ts'
import { after } from '../deadline.ts'
import type { Admission } from '../interface.ts'
import { ask, type Core } from './core.ts'
import { dial } from './dial.ts'
import { certificateRefusal, presentedCertificates, staleTrustRefusal } from './peer-certificate.ts'
import { relay } from './relay.ts'
import type { Session } from './session.ts'
import { alertName, isCertificateError, type TlsIdentity } from './tls.ts'

export async function serveInbound(session: Session, core: Core): Promise<void> {
  const identity = core.identity()
  if (identity === undefined) return session.abort('no_identity')
  const peer = await handshake(session, identity)
  watchPeer(session, peer)
  // tls.Server hands out no other; it costs nothing to be sure of what everything after this rests on.
  if (!peer.authorized) return session.abort('peer_certificate_refused', errorCode(peer.authorizationError))
  const presented = presentedCertificates(peer)
  const [leaf] = presented
  const refusal = certificateRefusal(presented, identity, 'client')
  if (leaf === undefined || refusal !== undefined) return session.abort('peer_certificate_refused', refusal)
  const question = {
    session: session.id,
    listener: session.spec.key,
    uriSans: uriSans(leaf),
    serial: leaf.serialNumber,
  }

  for (;;) {
    const answer = await ask(session, core.admit, question)
    if (!answer.admitted) {
      session.peer = answer.peer
      return session.abort(answer.reason, answer.detail)
    }
    // By older rules: the app must not see a peer that may not be allowed any more.
    if (answer.generation < core.generation()) continue
    session.peer = answer.peer
    core.admitted(session)
    const app = await dialApp(session, answer)
    if (app === undefined) return
    // Nothing is awaited between this look and the relay: from here on the session is within reach of terminate.
    if (answer.generation < core.generation()) {
      app.destroy()
      continue
    }
    const refusal = staleTrustRefusal(presented, { used: identity, now: core.identity(), purpose: 'client' })
    if (refusal !== undefined) return session.abort('peer_certificate_refused', refusal)
    session.state = 'relaying'
    session.relayed = true
    session.onEnd = relay({
      session,
      downstream: peer,
      upstream: app,
      onUpstreamByte: () => {},
      end: end => {
        if (end.kind === 'closed')
          return session.finish(session.unused ? 'closed_before_first_byte' : 'closed')
        if (end.kind === 'timeout') return session.abort(end.reason)
        const side = end.kind === 'unused' ? 'upstream' : end.side
        session.abort(side === 'downstream' ? session.abandoned : 'upstream_reset', end.detail)
      },
    })
    return
  }
}

async function dialApp(
  session: Session,
  { target, connectTimeoutMs }: Admission,
): Promise<Socket | undefined> {
  session.state = 'dialing'
  const startedAt = performance.now()
  const dialed = await dial(session, target, connectTimeoutMs)
  if ('failure' in dialed) {
    session.abort('local_app_unreachable', `${formatAddress(target)}: ${dialed.detail}`)
    return undefined
  }
  session.connectMs = performance.now() - startedAt
  return dialed.socket
}

function handshake(session: Session, identity: TlsIdentity): Promise<TLSSocket> {
  const startedAt = performance.now()
  const raw = session.downstream
  return session.wait<TLSSocket>(resolve => {
    const limitMs = session.spec.handshakeTimeoutMs
    const limit = after(limitMs, () => {
      session.abort(
        'handshake_timeout',
        raw.bytesRead === 0 ? `silent for ${limitMs} ms` : `not done in ${limitMs} ms`,
      )
    })
    // OpenSSL's alert is on its way, or the peer is gone: the connection closes by itself.
    const failed = (code: string) => {
      if (raw.bytesRead === 0) return session.finish('closed_before_first_byte')
      if (isCertificateError(code)) return session.finish('peer_certificate_refused', code)
      const alert = alertName(code)
      session.finish('handshake_failed', alert === undefined ? code : `alert ${alert} from the peer`)
    }
    const secured = (socket: TLSSocket) => {
      session.handshakeMs = performance.now() - startedAt
      session.noteTls(raw, socket)
      resolve(socket)
    }
    const forget = identity.server.begin(raw, { secured, failed })
    // The TLS socket closes behind it, and may have more to say.
    let closing: NodeJS.Immediate | undefined
    const onClose = () => {
      closing = setImmediate(failed, 'closed by the peer')
    }
    raw.once('close', onClose)
    return () => {
      limit.cancel()
      forget()
      clearImmediate(closing)
      raw.off('close', onClose)
    }
  })
}

/** Between handshake and relay nobody reads from the peer; that it has gone is noticed all the same. */
function watchPeer(session: Session, peer: TLSSocket): void {
  const gone = (detail: string) => {
    if (session.state !== 'relaying') session.abort('downstream_reset', detail)
  }
  peer.on('error', error => gone(errorCode(error)))
  peer.on('close', () => gone('closed'))
}
