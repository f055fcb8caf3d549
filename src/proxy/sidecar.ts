// One sidecar, put together: desired state in, decisions to the data plane, records and reports out.
import { formatAddress } from '../address.ts'
import type { AskAgent } from '../authorization/authorization.ts'
import type { AccessLog, KeyExchange } from '../config/config.ts'
import type {
  AesChoice,
  Counters,
  DataPlane,
  KernelTlsChoice,
  ListenerReport,
  RelayChoice,
  SessionRecord,
  SessionView,
} from '../data-plane/interface.ts'
import { type DataPlaneChoice, openDataPlane } from '../data-plane/open.ts'
import { errorCode } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { admit } from '../policy/admit.ts'
import { deniedSessions } from '../policy/denied-sessions.ts'
import { route } from '../policy/route.ts'
import { uselessRules } from '../snapshot/from-config.ts'
import type { DesiredState, Snapshot } from '../snapshot/snapshot.ts'
import { logSession } from './access-log.ts'
import { AgentAuthorization } from './agent-authorization.ts'
import { ExpiryWatch } from './expiry.ts'
import { listenersOf, saysTheSame } from './listeners.ts'
import type { Log } from './log.ts'

export interface SidecarOptions {
  readonly dataPlane: DataPlaneChoice
  /** Of the native data plane; undefined: as many as the process may use CPUs. */
  readonly workers?: number | undefined
  readonly keyExchange?: KeyExchange | undefined
  /** Of the native data plane; undefined: on. */
  readonly resumption?: boolean | undefined
  /** Of the native data plane; undefined: auto. */
  readonly ktls?: KernelTlsChoice | undefined
  readonly aes?: AesChoice | undefined
  /** Of the native data plane; undefined: by the memory that the process may use. */
  readonly bufferMemory?: number | undefined
  readonly log: Log
  /** Which sessions get a line; may change while the proxy runs. */
  readonly accessLog: () => AccessLog
  /** What the source of the desired state does not know yet. */
  readonly missing: () => readonly string[]
  readonly askAgent?: AskAgent
  readonly onSession: (record: SessionRecord) => void
}

export class Sidecar {
  readonly dataPlaneName: string
  readonly relay: RelayChoice
  readonly #options: SidecarOptions
  readonly #dataPlane: DataPlane
  readonly #expiry: ExpiryWatch
  readonly #agentAuthorization: AgentAuthorization
  readonly #listeners = new Map<string, ListenerReport>()
  #snapshot: Snapshot | undefined
  #applying: Promise<void> = Promise.resolve()
  #draining = false
  /** As the log has it. */
  #ready: boolean | undefined

  /** @throws SidespliceError `data_plane_unavailable` */
  constructor(options: SidecarOptions) {
    this.#options = options
    const { log } = options
    const opened = openDataPlane(options.dataPlane, {
      workers: options.workers,
      keyExchange: options.keyExchange,
      resumption: options.resumption,
      ktls: options.ktls,
      aes: options.aes,
      bufferMemory: options.bufferMemory,
      policy: {
        admit: (questions, answer) => {
          const snapshot = this.#snapshot
          if (snapshot === undefined) return
          this.#agentAuthorization.complete(
            questions.map(question => admit(snapshot, question)),
            answer,
          )
        },
        route: (questions, answer) => {
          const snapshot = this.#snapshot
          if (snapshot === undefined) return
          const { listeners } = this.#dataPlane.counters()
          const now = performance.now()
          const facts = (listener: string) => ({
            counters: listeners.get(listener)?.endpoints ?? new Map(),
            now,
            random: Math.random,
          })
          answer(questions.map(question => route(snapshot, question, facts(question.listener))))
        },
        ended: records => {
          for (const record of records) {
            options.onSession(record)
            logSession(log, options.accessLog(), record)
          }
        },
      },
      onListener: report => {
        this.#noteListener(report)
        this.#sayReadiness()
      },
    })
    this.#dataPlane = opened.dataPlane
    this.dataPlaneName = opened.name
    this.relay = opened.relay
    this.#expiry = new ExpiryWatch(log)
    const { dataPlane } = opened
    this.#agentAuthorization = new AgentAuthorization({ ask: options.askAgent, dataPlane, log })
    log.info({ data_plane: opened.name, why: opened.why }, 'data plane chosen')
    const { relay, aes, why, warning } = opened.relay
    log.info({ relay, ...(aes !== undefined && { aes }), why }, 'relay chosen')
    if (warning !== undefined) log.warn({ relay, warning }, 'the relay has a limit')
  }

  /**
   * Makes the data plane equal to the desired state. Who is allowed, and who is no more, holds when this returns. Resolves when each
   * listener is bound or has failed: the lookup of a name may take long, and holds up no later change.
   */
  apply(desired: DesiredState): Promise<void> {
    const applied = this.#apply(desired)
    this.#applying = Promise.allSettled([this.#applying, applied]).then(() => {})
    return applied
  }

  /** What stands between the proxy and readiness; empty where nothing does. */
  missing(): readonly string[] {
    if (this.#draining) return ['stopping']
    const snapshot = this.#snapshot
    const unknown = this.#options.missing()
    if (snapshot === undefined) return unknown.length === 0 ? ['configuration'] : unknown
    const expired =
      Date.now() >= snapshot.identity.leaf.notAfterAt ? ['a certificate that has not expired'] : []
    const down = listenersOf(snapshot).flatMap(({ key, name, direction, bind }) => {
      const report = this.#listeners.get(key)
      const why = report === undefined ? 'not bound yet' : report.error
      return why === undefined ? [] : [`${direction} listener of ${name} at ${formatAddress(bind)} (${why})`]
    })
    return [...unknown, ...expired, ...down]
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot
  }

  listeners(): readonly ListenerReport[] {
    return [...this.#listeners.values()]
  }

  sessions(): readonly SessionView[] {
    return this.#dataPlane.sessions()
  }

  counters(): Counters {
    return this.#dataPlane.counters()
  }

  /** Readiness fails from now on; connections are still taken. */
  announceStop(): void {
    this.#draining = true
  }

  /** Stops: peers first, the local app once no session lives or `graceMs` have passed. A signal cuts. */
  async stop(options: {
    readonly graceMs: number
    readonly signal: AbortSignal
  }): Promise<{ readonly cut: number }> {
    this.announceStop()
    await this.#applying
    const drained = await this.#dataPlane.drain(options)
    await this.#dataPlane.close()
    this.#agentAuthorization.close()
    this.#expiry.close()
    return drained
  }

  async #apply(desired: DesiredState): Promise<void> {
    const { log } = this.#options
    const former = this.#snapshot
    const generation = (former?.generation ?? 0) + 1
    const identity = this.#takeIdentity(desired.identity, former?.identity, generation)
    const snapshot = Object.freeze({ ...desired, identity, generation })
    this.#snapshot = snapshot
    for (const rule of uselessRules(snapshot))
      log.warn({ rule }, 'a rule names another trust domain than ours and never matches')

    const specs = listenersOf(snapshot)
    const bound = this.#dataPlane.setListeners({ generation, listeners: specs })
    // From here on every new decision is by this snapshot; what an older one allowed is looked at once more.
    const ended = this.#dataPlane.terminate(
      deniedSessions(snapshot, this.#dataPlane.sessions()),
      'no_longer_allowed',
    )
    this.#agentAuthorization.noteState(snapshot)
    const reports = await bound
    const wanted = new Set(specs.map(spec => spec.key))
    for (const key of this.#listeners.keys()) if (!wanted.has(key)) this.#dropListener(key)
    for (const report of reports) this.#noteListener(report)
    log.info(
      { generation, id: identity.leaf.id.uri, listeners: reports.length, sessions_ended: ended },
      'configuration applied',
    )
    this.#sayReadiness()
  }

  /** The identity in use afterwards: the new one, or the former where the TLS library does not take the new one. */
  #takeIdentity(next: Identity, former: Identity | undefined, generation: number): Identity {
    // The whole chain: an intermediate may be replaced while the leaf stays.
    const same = former?.leaf.chainPem === next.leaf.chainPem && former.trust.digest === next.trust.digest
    if (same) return former
    try {
      this.#dataPlane.setIdentity({
        generation,
        chainPem: next.leaf.chainPem,
        privateKey: next.leaf.privateKey,
        rootsPem: next.trust.pem,
      })
    } catch (error) {
      if (former === undefined) throw error
      this.#options.log.error(
        { error: errorCode(error) },
        'the new certificate was refused, the former one stays',
      )
      return former
    }
    this.#expiry.watch(next.leaf)
    const { leaf, trust } = next
    const fields = {
      id: leaf.id.uri,
      serial: leaf.serial,
      not_after: new Date(leaf.notAfterAt).toISOString(),
      roots: trust.roots.length,
    }
    this.#options.log.info(fields, 'certificate taken up')
    return next
  }

  #noteListener(report: ListenerReport): void {
    const former = this.#listeners.get(report.key)
    this.#listeners.set(report.key, report)
    if (former !== undefined && saysTheSame(former, report)) return
    const fields = {
      direction: report.direction,
      service: report.name,
      address: formatAddress(report.bind),
    }
    if (report.error === undefined) this.#options.log.info(fields, 'listening')
    else this.#options.log.error({ ...fields, error: report.error }, 'can not listen, trying again')
  }

  /** A listener may come up long after the start: whoever waits for the word reads it then. */
  #sayReadiness(): void {
    const missing = this.missing()
    const ready = missing.length === 0
    if (this.#draining || ready === this.#ready) return
    this.#ready = ready
    const service = this.#snapshot?.service
    if (ready) this.#options.log.info({ service }, 'ready')
    else this.#options.log.warn({ service, missing }, 'not ready, something is missing')
  }

  #dropListener(key: string): void {
    const dropped = this.#listeners.get(key)
    this.#listeners.delete(key)
    if (dropped === undefined) return
    this.#options.log.info(
      { direction: dropped.direction, service: dropped.name, address: formatAddress(dropped.bind) },
      'stopped listening, live sessions go on',
    )
  }
}
