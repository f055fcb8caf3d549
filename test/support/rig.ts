// Two sidecars and an app: app of web → A (outbound) ══ mutual TLS ══ B (inbound) → app of db.
import type { TestContext } from 'node:test'
import type { Address } from '../../src/address.ts'
import type { KeyExchange } from '../../src/config/config.ts'
import type { ListenerSpec, PlannedAttempt } from '../../src/data-plane/interface.ts'
import type { DataPlaneUnderTest } from './data-planes.ts'
import { type App, connect, type End, openApp } from './ends.ts'
import { mesh, spiffeId } from './pki.ts'
import { Sidecar } from './sidecar.ts'

export interface RigOptions {
  /** How the app of db treats a connection; silent unless said otherwise. */
  readonly serve?: (end: End) => void
  readonly host?: string
  /** Settings of A's listener and of B's. */
  readonly outbound?: Partial<ListenerSpec>
  readonly inbound?: Partial<ListenerSpec>
  /** What sessions of each may own together. */
  readonly bufferMemory?: number
  /** On unless it is said otherwise. */
  readonly resumption?: boolean
  /** What A prefers, and B. */
  readonly keyExchange?: { readonly a?: KeyExchange; readonly b?: KeyExchange }
}

export interface Rig {
  readonly a: Sidecar
  readonly b: Sidecar
  readonly app: App
  /** Where the app of web finds db. */
  readonly address: Address
  readonly publicAddress: Address
  /** A connection of web's app, through both. */
  connect(): End
  /** A connection of web's app, with the app's end of it. */
  connected(): Promise<{ readonly client: End; readonly server: End }>
}

export async function openRig(
  t: TestContext,
  under: DataPlaneUnderTest,
  options: RigOptions = {},
): Promise<Rig> {
  const host = options.host ?? '127.0.0.1'
  const app = await openApp(t, { host, ...(options.serve !== undefined && { serve: options.serve }) })
  const common = { bufferMemory: options.bufferMemory, resumption: options.resumption }
  const b = new Sidecar(t, under, { ...common, keyExchange: options.keyExchange?.b })
  b.setIdentity(mesh.db, mesh.root)
  b.admits(app.address)
  const publicAddress = await b.listenAt({
    direction: 'inbound',
    bind: { host, port: 0 },
    ...options.inbound,
  })
  const a = new Sidecar(t, under, { ...common, keyExchange: options.keyExchange?.a })
  a.setIdentity(mesh.web, mesh.root)
  a.routes([endpoint(publicAddress)])
  const address = await a.listenAt({ direction: 'outbound', bind: { host, port: 0 }, ...options.outbound })
  const rig: Rig = {
    a,
    b,
    app,
    address,
    publicAddress,
    connect: () => connect(t, address),
    async connected() {
      const client = rig.connect()
      const server = await app.connection(app.connections.length)
      return { client, server }
    },
  }
  return rig
}

/** One endpoint of db as a plan names it. */
export function endpoint(address: Address, options: Partial<PlannedAttempt> = {}): PlannedAttempt {
  return { endpoint: 'db-1', address, expect: [spiffeId('db')], timeLimitMs: 10_000, ...options }
}
