// The data plane on node:net and node:tls, put together. What Node's TLS can't do stands in its capabilities.
import type { Socket } from 'node:net'
import { gracePeriod } from '../grace.ts'
import type {
  Capabilities,
  Counters,
  DataPlane,
  DataPlaneIdentity,
  DataPlaneOptions,
  ListenerReport,
  ListenerSet,
  ListenerSpec,
  SessionId,
  SessionRecord,
  SessionView,
  TerminationReason,
} from '../interface.ts'
import { groupsOf } from '../key-exchange.ts'
import { ListeningSockets } from '../listening-sockets.ts'
import { Questions } from '../questions.ts'
import type { Core } from './core.ts'
import { hasDescriptorsFor, hasDescriptorsForStrangers } from './descriptors.ts'
import { serveInbound } from './inbound.ts'
import { NetListeningSocket } from './listening-socket.ts'
import { serveOutbound } from './outbound.ts'
import { OwnDials } from './own-dials.ts'
import { Session, SessionOver } from './session.ts'
import { Tally } from './tally.ts'
import { buildTlsIdentity, type TlsIdentity } from './tls.ts'

// Node 24 (seen in 24.21) gives a server the leaf alone, in getPeerX509Certificate and in getPeerCertificate; 22 and 26 give all.
const givesServersTheChain = !process.versions.node.startsWith('24.')

export class JavascriptDataPlane implements DataPlane {
  readonly capabilities: Capabilities = Object.freeze({
    truncation: false,
    alerts: false,
    sendQueue: false,
    backlog: false,
    peerChain: givesServersTheChain,
    resumption: false,
  })

  readonly #policy: DataPlaneOptions['policy']
  readonly #core: Core
  readonly #sockets: ListeningSockets
  readonly #tally = new Tally()
  readonly #sessions = new Map<SessionId, Session>()
  /** Those of peers that have not been admitted. */
  readonly #strangers = new Set<Session>()
  readonly #groups: string
  #identity: TlsIdentity | undefined
  #generation = 0
  #nextSession = 1
  #records: SessionRecord[] = []
  #keys: ReadonlySet<string> = new Set()
  #onEmpty: (() => void) | undefined

  constructor({ policy, onListener, keyExchange = 'x25519' }: DataPlaneOptions) {
    this.#policy = policy
    this.#groups = groupsOf(keyExchange)
    this.#core = {
      identity: () => this.#identity,
      generation: () => this.#generation,
      ownDials: new OwnDials(),
      admitted: session => this.#strangers.delete(session),
      admit: new Questions((questions, answer) => policy.admit(questions, answer)),
      route: new Questions((questions, answer) => policy.route(questions, answer)),
    }
    this.#sockets = new ListeningSockets({
      open: spec => NetListeningSocket.open(spec, (socket, by) => this.#accept(socket, by)),
      onListener: onListener ?? (() => {}),
    })
  }

  setIdentity(identity: DataPlaneIdentity): void {
    this.#identity = buildTlsIdentity(identity, this.#groups)
    this.#generation = Math.max(this.#generation, identity.generation)
  }

  setListeners({ generation, listeners }: ListenerSet): Promise<readonly ListenerReport[]> {
    this.#generation = Math.max(this.#generation, generation)
    this.#keys = new Set(listeners.map(spec => spec.key))
    for (const spec of listeners) this.#tally.of(spec)
    this.#tally.prune(this.#keys)
    return this.#sockets.set(listeners)
  }

  terminate(ids: readonly SessionId[], reason: TerminationReason): number {
    const live = ids.map(id => this.#sessions.get(id)).filter(session => session !== undefined)
    for (const session of live) session.abort(reason)
    return live.length
  }

  sessions(): readonly SessionView[] {
    return [...this.#sessions.values()].map(session => session.view())
  }

  counters(): Counters {
    for (const [key, tally] of this.#tally.listeners) tally.listening = this.#sockets.isListening(key)
    return this.#tally
  }

  async drain({
    graceMs,
    signal,
  }: {
    readonly graceMs: number
    readonly signal?: AbortSignal
  }): Promise<{ readonly cut: number }> {
    await this.#sockets.stop('inbound')
    if (this.#sessions.size > 0) {
      await gracePeriod({
        graceMs,
        signal,
        onEmpty: end => {
          this.#onEmpty = end
        },
      })
      this.#onEmpty = undefined
    }
    await this.#sockets.stop()
    return { cut: this.terminate([...this.#sessions.keys()], 'shutdown') }
  }

  async close(): Promise<void> {
    const stopped = this.#sockets.stop()
    this.terminate([...this.#sessions.keys()], 'shutdown')
    await stopped
    // What was queued in the kernel has been accepted on the way.
    this.terminate([...this.#sessions.keys()], 'shutdown')
    this.#deliver()
    this.#core.admit.close()
    this.#core.route.close()
  }

  #accept(socket: Socket, spec: ListenerSpec): void {
    const tally = this.#tally.of(spec)
    tally.accepted++
    tally.open++
    const session = new Session({
      id: this.#nextSession++,
      spec,
      tally,
      downstream: socket,
      report: record => this.#ended(session, record),
    })
    this.#sessions.set(session.id, session)
    if (spec.direction === 'inbound') this.#strangers.add(session)
    if (!hasDescriptorsFor(this.#sessions.size))
      return session.abort('descriptors_exhausted', `${this.#sessions.size} sessions`)
    if (!hasDescriptorsForStrangers(this.#strangers.size))
      return session.abort('descriptors_exhausted', `${this.#strangers.size} peers that are not admitted`)
    const serve = spec.direction === 'inbound' ? serveInbound : serveOutbound
    serve(session, this.#core).catch((error: unknown) => {
      if (!(error instanceof SessionOver))
        session.abort('internal_error', error instanceof Error ? error.stack : String(error))
    })
  }

  #ended(session: Session, record: SessionRecord): void {
    this.#sessions.delete(session.id)
    this.#strangers.delete(session)
    session.tally.open--
    if (this.#records.length === 0) setImmediate(() => this.#deliver())
    this.#records.push(record)
    if (this.#sessions.size === 0) this.#onEmpty?.()
    if (session.tally.open === 0) this.#tally.prune(this.#keys)
  }

  #deliver(): void {
    const records = this.#records
    this.#records = []
    if (records.length > 0) this.#policy.ended(records)
  }
}
