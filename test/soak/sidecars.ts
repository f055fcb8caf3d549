// Two sidecars in a process of their own, so that what it holds is theirs: started with the addresses of the apps, asked for figures.
import { readdirSync, readFileSync } from 'node:fs'
import type { Address } from '../../src/address.ts'
import type { DataPlane, ListenerSpec, Policy, SessionRecord } from '../../src/data-plane/interface.ts'
import { dataPlaneNamed } from '../support/data-planes.ts'
import { mesh, spiffeId } from '../support/pki.ts'

interface Identity {
  readonly chainPem: string
  readonly keyPem: string
}

/** The identities of web and db, of a root that another process has made. */
export interface Identities {
  readonly rootPem: string
  readonly web: Identity
  readonly db: Identity
}

export type ToSidecars =
  | {
      readonly type: 'start'
      readonly dataPlane: string
      readonly app: Address
      /** What the sessions of each may own together. */
      readonly bufferMemory?: number
      /** Its own where there are none. */
      readonly identities?: Identities
    }
  | { readonly type: 'through'; readonly middle: Address }
  | { readonly type: 'figures' }
  | { readonly type: 'stop' }

export interface Figures {
  readonly descriptors: number
  readonly threads: number
  readonly residentBytes: number
  /** Of those, what V8 holds for JavaScript's heap. */
  readonly heapBytes: number
  readonly live: number
  /** What sessions own; 0 where the data plane does not tell. */
  readonly ownedBytes: number
}

export type Ended = Pick<
  SessionRecord,
  'reason' | 'bytesToUpstream' | 'bytesToDownstream' | 'relay' | 'relayed'
>

export type FromSidecars =
  | { readonly type: 'started'; readonly direct: Address; readonly cut: Address; readonly inbound: Address }
  | { readonly type: 'ready' }
  | ({ readonly type: 'figures' } & Figures)
  | { readonly type: 'ended'; readonly side: 'a' | 'b'; readonly records: readonly Ended[] }

const patientMs = 30_000
// With what V8 keeps of pages for later: a heap's garbage comes and goes, what is held does not.
const collect = globalThis.gc as unknown as (options?: object) => void
const all = { type: 'major', execution: 'sync', flavor: 'last-resort' }
const tell = (message: FromSidecars) => process.send?.(message)
const planes: DataPlane[] = []
let inbound: Address = { host: '', port: 0 }
let middle: Address = inbound

process.on('message', (message: ToSidecars) => {
  if (message.type === 'start') void start(message)
  if (message.type === 'through') {
    middle = message.middle
    tell({ type: 'ready' })
  }
  if (message.type === 'figures') {
    collect(all)
    tell({ type: 'figures', ...figures() })
  }
  if (message.type === 'stop')
    void Promise.all(planes.map(plane => plane.close())).then(() => process.disconnect())
})

async function start({
  dataPlane,
  app,
  bufferMemory,
  identities = { rootPem: mesh.root.certPem, web: mesh.web, db: mesh.db },
}: Extract<ToSidecars, { type: 'start' }>): Promise<void> {
  const under = dataPlaneNamed(dataPlane)
  const ended = (side: 'a' | 'b') => (records: readonly SessionRecord[]) => {
    tell({
      type: 'ended',
      side,
      records: records.map(({ reason, bytesToUpstream, bytesToDownstream, relay, relayed }) => ({
        reason,
        bytesToUpstream,
        bytesToDownstream,
        relay,
        relayed,
      })),
    })
  }
  const b = under.open({
    bufferMemory,
    policy: {
      admit: (questions, answer) =>
        answer(
          questions.map(({ session }) => ({
            session,
            generation: 1,
            admitted: true,
            peer: spiffeId('web'),
            target: app,
            connectTimeoutMs: patientMs,
          })),
        ),
      route: () => {},
      ended: ended('b'),
    },
  })
  const route: Policy['route'] = (questions, answer) =>
    answer(
      questions.map(({ session, listener }) => ({
        session,
        generation: 1,
        admitted: true,
        connectTimeoutMs: patientMs,
        attempts: [
          {
            endpoint: listener,
            address: listener === 'cut' ? middle : inbound,
            expect: [spiffeId('db')],
            timeLimitMs: patientMs,
          },
        ],
      })),
    )
  const a = under.open({ bufferMemory, policy: { admit: () => {}, route, ended: ended('a') } })
  planes.push(a, b)
  identify(b, identities.db, identities.rootPem)
  identify(a, identities.web, identities.rootPem)
  const [listening] = await b.setListeners({ generation: 1, listeners: [spec('public', 'inbound')] })
  if (listening === undefined) throw new Error('no listener')
  inbound = listening.bind
  const [direct, cut] = await a.setListeners({
    generation: 1,
    listeners: [spec('direct', 'outbound'), spec('cut', 'outbound')],
  })
  if (direct === undefined || cut === undefined) throw new Error('no listeners')
  tell({ type: 'started', direct: direct.bind, cut: cut.bind, inbound })
}

function identify(plane: DataPlane, { chainPem, keyPem }: Identity, rootsPem: string): void {
  plane.setIdentity({ generation: 1, chainPem, privateKey: Buffer.from(keyPem), rootsPem })
}

function spec(key: string, direction: ListenerSpec['direction']): ListenerSpec {
  return {
    key,
    name: key,
    direction,
    bind: { host: '127.0.0.1', port: 0 },
    handshakeTimeoutMs: patientMs,
    halfCloseTimeoutMs: patientMs,
    idleTimeoutMs: 0,
    policyTimeoutMs: patientMs,
    maxWaiting: 4_096,
  }
}

function figures(): Figures {
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    residentBytes: Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024,
    heapBytes: process.memoryUsage().heapTotal,
    live: planes.reduce((sum, plane) => sum + plane.sessions().length, 0),
    ownedBytes: planes.reduce((sum, plane) => sum + (plane.counters().bufferBytes ?? 0), 0),
  }
}
