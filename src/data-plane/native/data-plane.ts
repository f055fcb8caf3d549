// The data plane on the addon: bytes move in its threads; here are its questions, its listeners and its ends.
import { lookup } from 'node:dns/promises'
import { availableParallelism, release } from 'node:os'
import { errorCode, SidespliceError } from '../../errors.ts'
import { gracePeriod } from '../grace.ts'
import type {
  AdmitAnswer,
  AdmitQuestion,
  Capabilities,
  Counters,
  DataPlane,
  DataPlaneIdentity,
  DataPlaneOptions,
  ListenerReport,
  ListenerSet,
  ListenerSpec,
  RelayChoice,
  RouteAnswer,
  RouteQuestion,
  SessionId,
  SessionView,
  TerminationReason,
} from '../interface.ts'
import { groupsOf } from '../key-exchange.ts'
import { ListeningSockets } from '../listening-sockets.ts'
import { Questions } from '../questions.ts'
import type { Addon, Batch, Engine } from './addon.ts'
import { giveAnswer } from './answers.ts'
import { defaultBufferMemory } from './buffer-memory.ts'
import { type KernelUse, useOfKernel } from './kernel-tls.ts'
import { openEngineSocket } from './listening-socket.ts'
import { NativeTally } from './tally.ts'

// RFC 8446 section 5.5: 2^24.5 full records under an AES-GCM key; exchanged a little before.
const rekeyAfterRecords = 23_000_000

/** By the affinity mask and the quota of the process's cgroup and those above it, which libuv reads since 1.51 (Node 22.19). */
const usableCpus = availableParallelism

// The start is over by then, also where an agent answers late.
const startupMs = 3_000
let leavesStartup = false

let facts: ReturnType<Addon['probeKernelTls']> | undefined

export type RecordsChoice = Pick<DataPlaneOptions, 'ktls' | 'aes'>

/**
 * What of kernel TLS is used, and whose AES-GCM beside it; the kernel is probed once a process.
 * @throws SidespliceError `data_plane_unavailable` where it is asked for and not there
 */
export function requireKernelUse(
  addon: Addon,
  { ktls = 'auto', aes: choice = 'auto' }: RecordsChoice,
): KernelUse {
  // Before the probe: it compares the kernel with what is taken otherwise.
  const aes = addon.chooseAes(choice)
  const probe = () => {
    facts ??= addon.probeKernelTls()
    return facts
  }
  const use = useOfKernel(ktls, probe, release())
  if (!('unavailable' in use)) return { ...use, aes }
  throw new SidespliceError(`kernel TLS can't be used: ${use.unavailable}`, {
    source: 'data-plane',
    code: 'data_plane_unavailable',
  })
}

/** Once a process, whatever data planes it makes. */
function leaveStartup(addon: Addon): void {
  if (leavesStartup) return
  leavesStartup = true
  setTimeout(() => addon.letGoOfStartup(), startupMs).unref()
}

export class NativeDataPlane implements DataPlane {
  readonly capabilities: Capabilities = Object.freeze({
    truncation: true,
    alerts: true,
    sendQueue: true,
    backlog: true,
    peerChain: true,
    resumption: true,
  })

  readonly relay: RelayChoice
  readonly #policy: DataPlaneOptions['policy']
  readonly #engine: Engine
  readonly #sockets: ListeningSockets
  readonly #tally: NativeTally
  readonly #admit: Questions<AdmitQuestion, AdmitAnswer>
  readonly #route: Questions<RouteQuestion, RouteAnswer>
  /** Takes the question of a session back that has ended. */
  readonly #asked = new Map<SessionId, () => void>()
  readonly #closing = new Map<number, () => void>()
  readonly #groups: string
  readonly #resumption: boolean
  #answers: (AdmitAnswer | RouteAnswer)[] = []
  #specs: ReadonlyMap<string, ListenerSpec> = new Map()
  #wanted: ReadonlySet<string> = new Set()
  #onEmpty: (() => void) | undefined
  #closed = false

  /**
   * @throws SidespliceError `data_plane_unavailable` where threads or descriptors are lacking, or kernel TLS where it is asked for
   */
  constructor(
    addon: Addon,
    {
      policy,
      onListener,
      ktls,
      aes,
      workers = usableCpus(),
      keyExchange = 'x25519',
      resumption = true,
      bufferMemory,
    }: DataPlaneOptions,
  ) {
    this.#policy = policy
    this.#groups = groupsOf(keyExchange)
    this.#resumption = resumption
    const { ciphers: kernelCiphers, rekeys: kernelRekeys, ...relay } = requireKernelUse(addon, { ktls, aes })
    this.relay = relay
    try {
      this.#engine = new addon.Engine(
        {
          workers,
          handshakeThreads: workers,
          rekeyAfterRecords,
          kernelCiphers,
          kernelRekeys,
          bufferMemory: bufferMemory ?? defaultBufferMemory(),
        },
        json => this.#takeOrThrow(json),
      )
    } catch (cause) {
      const message = `the native data plane can't start: ${cause instanceof Error ? cause.message : cause}`
      throw new SidespliceError(message, { source: 'data-plane', code: 'data_plane_unavailable', cause })
    }
    leaveStartup(addon)
    this.#tally = new NativeTally(this.#engine, key => this.#sockets.isListening(key))
    this.#admit = new Questions((questions, answer) => policy.admit(questions, answer))
    this.#route = new Questions((questions, answer) => policy.route(questions, answer))
    this.#sockets = new ListeningSockets({
      open: spec =>
        openEngineSocket(spec, {
          engine: this.#engine,
          tallyOf: of => this.#tally.of(of),
          onClosed: (id, closed) => this.#closing.set(id, closed),
        }),
      onListener: onListener ?? (() => {}),
    })
  }

  setIdentity({ chainPem, privateKey, rootsPem, generation }: DataPlaneIdentity): void {
    if (this.#closed) return
    try {
      this.#engine.setIdentity(chainPem, privateKey, rootsPem, this.#groups, this.#resumption)
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new SidespliceError(`the TLS library refused the identity: ${why}`, {
        source: 'data-plane',
        code: 'identity_refused',
        cause,
      })
    }
    this.#engine.setGeneration(generation)
  }

  setListeners({ generation, listeners }: ListenerSet): Promise<readonly ListenerReport[]> {
    if (this.#closed) return Promise.resolve([])
    this.#engine.setGeneration(generation)
    this.#specs = new Map([...this.#specs, ...listeners.map(spec => [spec.key, spec] as const)])
    this.#wanted = new Set(listeners.map(spec => spec.key))
    for (const spec of listeners) this.#tally.of(spec)
    const set = this.#sockets.set(listeners)
    return set.then(reports => {
      this.#prune()
      return reports
    })
  }

  terminate(sessions: readonly SessionId[], reason: TerminationReason): number {
    return this.#closed ? 0 : this.#engine.terminate(sessions, reason)
  }

  sessions(): readonly SessionView[] {
    return this.#closed ? [] : this.#engine.sessions()
  }

  counters(): Counters {
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
    if (this.#engine.sessionIds().length > 0) {
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
    return { cut: this.terminate(this.#engine.sessionIds(), 'shutdown') }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    const stopped = this.#sockets.stop()
    this.terminate(this.#engine.sessionIds(), 'shutdown')
    await stopped
    if (this.#closed) return
    this.#closed = true
    this.#engine.close(json => this.#take(json))
    this.#admit.close()
    this.#route.close()
  }

  /** From within the addon's callback an error would come to nothing but a warning of Node's, and what stands behind it in the batch with it. */
  #takeOrThrow(json: string): void {
    try {
      this.#take(json)
    } catch (error) {
      process.nextTick(() => {
        throw error
      })
    }
  }

  #take(json: string): void {
    const { admit, route, lookup: names, ended, closed } = JSON.parse(json) as Batch
    for (const question of admit) this.#ask(this.#admit, question)
    for (const question of route) this.#ask(this.#route, question)
    for (const { session, host } of names) void this.#lookup(session, host)
    for (const id of closed) {
      this.#closing.get(id)?.()
      this.#closing.delete(id)
    }
    if (ended.length === 0) return
    for (const { id } of ended) {
      this.#asked.get(id)?.()
      this.#asked.delete(id)
    }
    this.#prune()
    this.#policy.ended(ended)
    if (this.#onEmpty !== undefined && this.#engine.sessionIds().length === 0) this.#onEmpty()
  }

  /** What was said of a listener that is gone stays for as long as a session of it may ask. */
  #prune(): void {
    this.#tally.prune(this.#wanted)
    const known = this.#tally.listeners
    this.#specs = new Map([...this.#specs].filter(([key]) => this.#wanted.has(key) || known.has(key)))
  }

  #ask<Q extends AdmitQuestion | RouteQuestion, A extends AdmitAnswer | RouteAnswer>(
    questions: Questions<Q, A>,
    question: Q,
  ): void {
    const { session } = question
    const timeLimitMs = this.#specs.get(question.listener)?.policyTimeoutMs ?? 0
    const takeBack = questions.ask(question, timeLimitMs, answer => {
      this.#asked.delete(session)
      const late = {
        session,
        generation: 0,
        admitted: false,
        reason: 'policy_timeout',
        detail: `no answer within ${timeLimitMs} ms`,
      } as const
      this.#answer(answer ?? late)
    })
    this.#asked.set(session, takeBack)
  }

  /**
   * Answers leave together at the end of what runs now: a change of generation that comes in the same breath is seen by each of them, so
   * that none begins to relay by rules that have just gone.
   */
  #answer(answer: AdmitAnswer | RouteAnswer): void {
    if (this.#answers.length === 0)
      queueMicrotask(() => {
        const answers = this.#answers
        this.#answers = []
        if (!this.#closed) for (const one of answers) giveAnswer(this.#engine, one)
      })
    this.#answers.push(answer)
  }

  async #lookup(session: SessionId, host: string): Promise<void> {
    const found = await lookup(host, { all: true }).catch((error: unknown) => errorCode(error))
    if (typeof found === 'string') this.#engine.answerLookup(session, host, [], found)
    else
      this.#engine.answerLookup(
        session,
        host,
        found.map(({ address }) => address),
        '',
      )
  }
}
