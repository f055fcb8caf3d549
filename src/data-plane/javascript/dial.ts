// Opening a TCP connection within a time limit.
import net, { type Socket } from 'node:net'
import type { Address } from '../../address.ts'
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
    const socket = net.connect({ host: address.host, port: address.port, ...socketOptions })
    session.own(socket)
    const limit = after(limitMs, () => {
      socket.destroy()
      resolve({ failure: 'connect_timeout', detail: `no answer within ${Math.round(limitMs)} ms` })
    })
    const onConnect = () => resolve({ socket })
    const onError = (error: Error) => {
      const code = errorCode(error)
      if (code === 'EMFILE' || code === 'ENFILE') session.abort('descriptors_exhausted', code)
      else resolve({ failure: 'connect_failed', detail: code })
    }
    socket.once('connect', onConnect).once('error', onError)
    return () => {
      limit.cancel()
      socket.off('connect', onConnect).off('error', onError)
      // Interrupted by the session's end: the half-open dial must not linger.
      if (session.over) reset(socket)
    }
  })
}
