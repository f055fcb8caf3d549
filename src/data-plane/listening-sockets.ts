// The listening sockets: made equal to the wanted set by difference, by bind address, so that a socket that is still wanted
// never closes. Knows nothing of what is done with a connection.
import { formatAddress, socketPathOf } from '../address.ts'
import { errorCode } from '../errors.ts'
import type { ListenerReport, ListenerSpec } from './interface.ts'

/** A socket that listens, as a data plane has it. */
export interface ListeningSocket {
  readonly port: number
  /** What connections are held to that are accepted from now on. */
  change(spec: ListenerSpec): void
  /** Resolves when the address is free again; connections that were accepted live on. */
  close(): Promise<void>
  /** The same, behind what the kernel has queued by now: close(2) would reset it. */
  takeQueuedAndClose(): Promise<void>
}

interface Listening {
  spec: ListenerSpec
  readonly socket: ListeningSocket
  closed: boolean
}

interface Failed {
  readonly spec: ListenerSpec
  readonly error: string
  readonly timer: NodeJS.Timeout
}

export interface ListeningSocketsOptions {
  /** Rejects with an error that has the code of bind(2) or listen(2). */
  readonly open: (spec: ListenerSpec) => Promise<ListeningSocket>
  readonly onListener: (report: ListenerReport) => void
}

// A port is mostly taken by a predecessor that is about to go: tried again soon, then less often.
const firstRetryMs = 500
const lastRetryMs = 10_000

export class ListeningSockets {
  readonly #options: ListeningSocketsOptions
  /** By key, then by bind address as it was asked for. */
  readonly #listening = new Map<string, Listening>()
  readonly #failed = new Map<string, Failed>()
  #changes: Promise<unknown> = Promise.resolve()
  readonly #stopped = new Set<ListenerSpec['direction']>()
  #closed = false

  constructor(options: ListeningSocketsOptions) {
    this.#options = options
  }

  isListening(key: string): boolean {
    return this.#listening.has(key)
  }

  /** One change after the other: a set that comes while another is applied waits for it. */
  set(specs: readonly ListenerSpec[]): Promise<readonly ListenerReport[]> {
    const change = this.#changes.then(() => this.#apply(specs))
    this.#changes = change.catch(() => {})
    return change
  }

  /** Stops those of one direction, or all, for good. What the kernel has queued by now is accepted first. */
  async stop(direction?: ListenerSpec['direction']): Promise<void> {
    if (direction === undefined) this.#closed = true
    // A change of configuration that comes later must not open them again.
    else this.#stopped.add(direction)
    await this.#changes
    for (const [key, failed] of this.#failed)
      if (direction === undefined || failed.spec.direction === direction) this.#forget(key)
    const stopping = [...this.#listening].filter(
      ([, { spec }]) => direction === undefined || spec.direction === direction,
    )
    await Promise.all(stopping.map(([key, listening]) => this.#takeQueuedAndClose(key, listening)))
  }

  async #apply(wanted: readonly ListenerSpec[]): Promise<readonly ListenerReport[]> {
    if (this.#closed) return []
    const specs = wanted.filter(({ direction }) => !this.#stopped.has(direction))
    for (const key of [...this.#failed.keys()]) this.#forget(key)
    const before = new Map(this.#listening)
    const byPlace = new Map([...before.values()].map(listening => [placeOf(listening.spec), listening]))
    this.#listening.clear()

    // Sockets whose address is still wanted change hands at once, whichever listener wants them now.
    const unbound: ListenerSpec[] = []
    const kept = new Set<Listening>()
    for (const spec of specs) {
      const listening = byPlace.get(placeOf(spec))
      if (listening === undefined) {
        unbound.push(spec)
        continue
      }
      listening.spec = spec
      listening.socket.change(spec)
      kept.add(listening)
      this.#listening.set(spec.key, listening)
    }
    // The rest stand until their successors are bound, unless they are gone for good or in the way.
    const moving = new Map<string, Listening>()
    const closing: Promise<void>[] = []
    for (const [key, listening] of before) {
      if (kept.has(listening)) continue
      if (unbound.some(spec => spec.key === key)) moving.set(key, listening)
      else closing.push(close(listening))
    }
    const reports: ListenerReport[] = []
    for (const spec of unbound) reports.push(await this.#move(spec, moving))
    for (const spec of specs) {
      const listening = this.#listening.get(spec.key)
      if (listening !== undefined && kept.has(listening)) reports.push(reportOf(listening))
    }
    await Promise.all(closing)
    return reports
  }

  /** Binds a listener's new address; its former socket goes once that has succeeded, and stays where it has not. */
  async #move(spec: ListenerSpec, moving: Map<string, Listening>): Promise<ListenerReport> {
    const former = moving.get(spec.key)
    let report = await this.#bind(spec)
    if (report.error === 'EADDRINUSE') {
      // Our own socket may be what is in the way, as in 127.0.0.1:80 to 0.0.0.0:80.
      const inTheWay = [...moving.values()].filter(
        ({ spec: { bind } }) => bind.port !== 0 && bind.port === spec.bind.port,
      )
      if (inTheWay.length > 0) {
        await Promise.all(inTheWay.map(close))
        report = await this.#bind(spec)
      }
    }
    if (report.error === undefined || former === undefined || former.closed) {
      if (former !== undefined) await close(former)
    } else {
      // Reached at its former address, by its new settings, until the new address can be had.
      former.spec = { ...spec, bind: former.spec.bind }
      former.socket.change(former.spec)
      this.#listening.set(spec.key, former)
    }
    if (report.error !== undefined) this.#retryLater(spec, report.error, firstRetryMs)
    return report
  }

  async #bind(spec: ListenerSpec): Promise<ListenerReport> {
    try {
      const listening = { spec, socket: await this.#options.open(spec), closed: false }
      this.#listening.set(spec.key, listening)
      return reportOf(listening)
    } catch (error) {
      const { key, name, direction, bind } = spec
      return { key, name, direction, bind, error: errorCode(error) }
    }
  }

  #retryLater(spec: ListenerSpec, error: string, delayMs: number): void {
    const timer = setTimeout(() => {
      const change = this.#changes.then(async () => {
        if (this.#closed || this.#failed.get(spec.key)?.timer !== timer) return
        this.#failed.delete(spec.key)
        const former = this.#listening.get(spec.key)
        const report = await this.#bind(spec)
        if (report.error !== undefined)
          this.#retryLater(spec, report.error, Math.min(delayMs * 2, lastRetryMs))
        else if (former !== undefined) await close(former)
        if (report.error !== error) this.#options.onListener(report)
      })
      this.#changes = change.catch(() => {})
    }, delayMs)
    this.#failed.set(spec.key, { spec, error, timer })
  }

  #forget(key: string): void {
    clearTimeout(this.#failed.get(key)?.timer)
    this.#failed.delete(key)
  }

  async #takeQueuedAndClose(key: string, listening: Listening): Promise<void> {
    if (listening.closed) return
    listening.closed = true
    await listening.socket.takeQueuedAndClose()
    if (this.#listening.get(key) === listening) this.#listening.delete(key)
  }
}

async function close(listening: Listening): Promise<void> {
  if (listening.closed) return
  listening.closed = true
  await listening.socket.close()
}

/** Where a port is the kernel's choice, no other listener can mean the same socket. */
function placeOf({ key, bind }: ListenerSpec): string {
  const chosen = bind.port === 0 && socketPathOf(bind) === undefined
  return chosen ? `${key} at ${bind.host}` : formatAddress(bind)
}

function reportOf({ spec, socket }: Listening): ListenerReport {
  const { key, name, direction, bind } = spec
  return { key, name, direction, bind: { host: bind.host, port: socket.port } }
}
