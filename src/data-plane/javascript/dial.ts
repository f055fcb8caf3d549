// Opening a connection within a time limit: TCP, or on this machine a unix socket.
import net, { type Socket } from 'node:net'
import { type Address, socketPathOf } from '../../address.ts'
import { errorCode } from '../../errors.ts'
import { after } from '../deadline.ts'
import { reset, type Session } from './session.ts'

/** How every TCP connection of the data plane is set up, accepted or dialed. */
export const socketOptions = {
  noDelay: true,
  keepAlive: true,
  // Long enough not to wake idle hosts, short enough to notice a dead peer before its peer's firewall forgets it.
  keepAliveInitialDelay: 30_000,
  allowHalfOpen: true,
} as const

// A unix socket whose backlog is full refuses at once (EAGAIN, connect(2)), where TCP would wait.
const fullBacklogRetryMs = 10

export type Dialed =
  | { readonly socket: Socket }
  | { readonly failure: 'connect_failed' | 'connect_timeout'; readonly detail: string }

/**
 * Dials; a host name is looked up now. The session is ended where the process has no descriptors left: no other endpoint
 * would fare better.
 * @throws SessionOver
 */
export function dial(session: Session, address: Address, limitMs: number): Promise<Dialed> {
  return session.wait<Dialed>(resolve => {
    const path = socketPathOf(address)
    let socket: Socket
    let retry: NodeJS.Timeout | undefined
    const connect = () => {
      socket = net.connect({ ...(path === undefined ? address : { path }), ...socketOptions })
      session.own(socket)
      socket.once('connect', onConnect).once('error', onError)
    }
    const limit = after(limitMs, () => {
      clearTimeout(retry)
      socket.destroy()
      resolve({ failure: 'connect_timeout', detail: `no answer within ${Math.round(limitMs)} ms` })
    })
    const onConnect = () => resolve({ socket })
    const onError = (error: Error) => {
      const code = errorCode(error)
      if (code === 'EAGAIN' && path !== undefined) retry = setTimeout(connect, fullBacklogRetryMs)
      else if (code === 'EMFILE' || code === 'ENFILE') session.abort('descriptors_exhausted', code)
      else resolve({ failure: 'connect_failed', detail: code })
    }
    connect()
    return () => {
      limit.cancel()
      clearTimeout(retry)
      socket.off('connect', onConnect).off('error', onError)
      // Interrupted by the session's end: the half-open dial must not linger.
      if (session.over) reset(socket)
    }
  })
}
