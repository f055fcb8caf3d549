// A listening socket of the engine.
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { ListenerSpec } from '../interface.ts'
import type { ListeningSocket } from '../listening-sockets.ts'
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
  const { host, port } = spec.bind
  const address = isIP(host.split('%')[0] ?? '') === 0 ? (await lookup(host)).address : host
  const bound = engine.bind(address, port, spec, tallyOf(spec))
  if (typeof bound === 'string') throw Object.assign(new Error(`bind: ${bound}`), { code: bound })
  const close = (takeQueued: boolean) =>
    new Promise<void>(resolve => {
      onClosed(bound.id, resolve)
      engine.closeListener(bound.id, takeQueued)
    })
  return {
    port: bound.port,
    change: next => engine.changeListener(bound.id, next, tallyOf(next)),
    close: () => close(false),
    takeQueuedAndClose: () => close(true),
  }
}
