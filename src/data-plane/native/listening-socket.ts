// A listening socket of the engine.
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { socketAddress, socketPathOf } from '../../address.ts'
import type { ListenerSpec } from '../interface.ts'
import type { ListeningSocket } from '../listening-sockets.ts'
import { defaultSocketMode, listenAtPath, withFile } from '../socket-path.ts'
import type { Engine } from './addon.ts'

export interface EngineSockets {
  readonly engine: Engine
  /** The engine's number of a listener's counters. */
  readonly tallyOf: (spec: ListenerSpec) => number
  /** Called once, when the engine has closed the listener. */
  readonly onClosed: (id: number, closed: () => void) => void
}

/** Rejects with an error that has the code of bind(2) or listen(2). */
export async function openEngineSocket(
  spec: ListenerSpec,
  { engine, tallyOf, onClosed }: EngineSockets,
): Promise<ListeningSocket> {
  const path = socketPathOf(spec.bind)
  if (path === undefined) return bound(await addressOf(spec.bind.host), spec.bind.port)
  let socket: ListeningSocket | undefined
  try {
    const file = await listenAtPath({ path, mode: spec.socketMode ?? defaultSocketMode }, async at => {
      socket = bound(socketAddress(at).host, 0)
    })
    return withFile(socket as unknown as ListeningSocket, file)
  } catch (error) {
    await socket?.close()
    throw error
  }

  function bound(host: string, port: number): ListeningSocket {
    const made = engine.bind(host, port, spec, tallyOf(spec))
    if (typeof made === 'string') throw Object.assign(new Error(`bind: ${made}`), { code: made })
    const close = (takeQueued: boolean) =>
      new Promise<void>(resolve => {
        onClosed(made.id, resolve)
        engine.closeListener(made.id, takeQueued)
      })
    return {
      port: made.port,
      change: next => engine.changeListener(made.id, next, tallyOf(next)),
      close: () => close(false),
      takeQueuedAndClose: () => close(true),
    }
  }
}

async function addressOf(host: string): Promise<string> {
  return isIP(host.split('%')[0] ?? '') === 0 ? (await lookup(host)).address : host
}
