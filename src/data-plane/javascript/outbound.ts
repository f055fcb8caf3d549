// A connection from the local app: route, then endpoint by endpoint dial, handshake and identity, until one carries the session.
import { errorCode } from '../../errors.ts'
import type { EndReason } from '../reasons.ts'
import { Attempt } from './attempt.ts'
import { connectPeer, type PeerConnection } from './connect-peer.ts'
import type { Core } from './core.ts'
import { firstRecord, type RelayEnd, relay } from './relay.ts'
import { Route } from './route.ts'
import type { Session } from './session.ts'

export async function serveOutbound(session: Session, core: Core): Promise<void> {
  watchApp(session)
  const route = new Route(session, core)
  try {
    await serveRoute(session, core, route)
  } finally {
    route.stopClock()
  }
}

async function serveRoute(session: Session, core: Core, route: Route): Promise<void> {
  for (;;) {
    const step = await route.next()
    if (step === undefined) return giveUp(session, route)
    if (core.ownDials.has(session.downstream))
      return session.abort('connect_failed', 'opened by this sidecar itself: an endpoint is its own listener')
    const attempt = new Attempt(session, step.planned)
    const peer = await connectPeer(session, core, step)
    attempt.measured(peer)
    if ('failure' in peer) {
      attempt.end(peer.failure, peer.detail)
      continue
    }
    if (!(await route.confirms(step.planned, peer.uri))) {
      peer.raw.destroy()
      attempt.end('superseded')
      continue
    }
    // Nothing is awaited from here to the relay: the generation can't move between.
    const refusal = peer.refusalNow()
    if (refusal !== undefined) {
      peer.raw.destroy()
      attempt.end('peer_certificate_refused', refusal)
      continue
    }
    route.stopClock()
    const end = await relayUntilEnd(session, attempt, peer)
    if (end.kind !== 'unused') return conclude(session, attempt, end)
    peer.raw.destroy()
    attempt.end(...firstRecord(end.detail))
  }
}

/** Until the relay watches it: an app that has gone needs no connection. */
function watchApp(session: Session): void {
  const app = session.downstream
  const gone = (detail: string) => {
    if (session.state !== 'relaying') session.abort(session.abandoned, detail)
  }
  app.on('error', error => gone(errorCode(error)))
  app.on('close', () => gone('closed'))
  // Reads ahead as far as the stream's own bound, so that a reset is seen while nobody takes the data yet.
  app.read(0)
}

function relayUntilEnd(session: Session, attempt: Attempt, peer: PeerConnection): Promise<RelayEnd> {
  session.state = 'relaying'
  session.relayed = true
  session.connectMs = peer.connectMs
  session.handshakeMs = peer.handshakeMs
  session.peer = peer.uri
  session.noteTls(peer.raw, peer.socket)
  return session.wait<RelayEnd>(resolve => {
    const stop = relay({
      session,
      downstream: session.downstream,
      upstream: peer.socket,
      wasCut: peer.wasCut,
      onUpstreamByte: () => attempt.carried(),
      end: resolve,
    })
    return () => {
      stop()
      // Ended from outside while it carried the session.
      if (session.over) attempt.end('connected')
      session.state = 'dialing'
    }
  })
}

function conclude(session: Session, attempt: Attempt, end: Exclude<RelayEnd, { kind: 'unused' }>): void {
  if (end.kind === 'closed') {
    attempt.carried()
    attempt.end('connected')
    return session.finish(session.unused ? 'closed_before_first_byte' : 'closed')
  }
  if (end.kind === 'timeout') {
    attempt.end('connected')
    return session.abort(end.reason)
  }
  if (end.side === 'downstream' || session.bytesToDownstream > 0) {
    attempt.end('connected')
    return session.abort(end.side === 'downstream' ? session.abandoned : 'upstream_reset', end.detail)
  }
  // The peer's first word was an end: it speaks of the peer, although a byte of ours had gone out and nothing can be retried.
  const [outcome, detail] = firstRecord(end.detail)
  attempt.end(outcome, detail)
  session.abort(outcome === 'closed_before_first_byte' ? 'upstream_reset' : outcome, detail)
}

function giveUp(session: Session, route: Route): void {
  const outcomes = new Set(session.attempts.map(attempt => attempt.outcome))
  const [only, ...others] = outcomes
  const last = session.attempts.at(-1)
  const detail = last === undefined ? undefined : `${last.endpoint}: ${last.detail ?? last.outcome}`
  if (others.length === 0 && (only === 'denied_by_peer' || only === 'peer_app_unreachable'))
    return session.abort(only, detail)
  const reason: EndReason = route.outOfTime ? 'connect_timeout' : 'connect_failed'
  session.abort(reason, detail)
}
