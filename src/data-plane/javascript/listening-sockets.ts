// The listening sockets: made equal to the wanted set by difference, by bind address, so that a socket that is still wanted
// never closes. Knows nothing of what is done with a connection.
import net, { type Server, type Socket } from 'node:net'
import { type Address, formatAddress } from '../../address.ts'
import { errorCode } from '../../errors.ts'
import type { ListenerReport, ListenerSpec } from '../interface.ts'
import { socketOptions } from './dial.ts'

interface Listening {
  spec: ListenerSpec
  readonly server: Server
  accepted: number
}

interface Failed {
  readonly spec: ListenerSpec
  readonly error: string
  readonly timer: NodeJS.Timeout
}

export interface ListeningSocketsOptions {
  readonly accept: (socket: Socket, spec: ListenerSpec) => void
  readonly onListener: (report: ListenerReport) => void
}

// A port is mostly taken by a predecessor that is about to go: tried again soon, then less often.
const firstRetryMs = 500
const lastRetryMs = 10_000
// listen(2) caps it at net.core.somaxconn.
const backlog = 4096

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
      kept.add(listening)
      this.#listening.set(spec.key, listening)
    }
    // The rest stand until their successors are bound, unless they are gone for good or in the way.
    const moving = new Map<string, Listening>()
    for (const [key, listening] of before) {
      if (kept.has(listening)) continue
      if (unbound.some(spec => spec.key === key)) moving.set(key, listening)
      else listening.server.close()
    }
    const reports: ListenerReport[] = []
    for (const spec of unbound) reports.push(await this.#move(spec, moving))
    for (const spec of specs) {
      const listening = this.#listening.get(spec.key)
      if (listening !== undefined && kept.has(listening)) reports.push(reportOf(listening))
    }
    return reports
  }

  /** Binds a listener's new address; its former socket goes once that has succeeded, and stays where it has not. */
  async #move(spec: ListenerSpec, moving: Map<string, Listening>): Promise<ListenerReport> {
    const former = moving.get(spec.key)
    let report = await this.#bind(spec)
    if (report.error === 'EADDRINUSE') {
      // Our own socket may be what is in the way, as in 127.0.0.1:80 to 0.0.0.0:80.
      const inTheWay = [...moving.values()].filter(listening => listening.spec.bind.port === spec.bind.port)
      if (inTheWay.length > 0) {
        await Promise.all(inTheWay.map(listening => close(listening.server)))
        report = await this.#bind(spec)
      }
    }
    if (report.error === undefined || former === undefined || !former.server.listening) {
      former?.server.close()
    } else {
      // Reached at its former address, by its new settings, until the new address can be had.
      former.spec = { ...spec, bind: former.spec.bind }
      this.#listening.set(spec.key, former)
    }
    if (report.error !== undefined) this.#retryLater(spec, report.error, firstRetryMs)
    return report
  }

  async #bind(spec: ListenerSpec): Promise<ListenerReport> {
    const server = net.createServer(socketOptions)
    const listening: Listening = { spec, server, accepted: 0 }
    server.on('connection', socket => {
      listening.accepted++
      this.#options.accept(socket, listening.spec)
    })
    try {
      await listen(server, spec.bind)
    } catch (error) {
      return {
        key: spec.key,
        name: spec.name,
        direction: spec.direction,
        bind: spec.bind,
        error: errorCode(error),
      }
    }
    // accept(2) fails without descriptors or memory; the listener outlives it.
    server.on('error', () => {})
    this.#listening.set(spec.key, listening)
    return reportOf(listening)
  }

  #retryLater(spec: ListenerSpec, error: string, delayMs: number): void {
    const timer = setTimeout(() => {
      const change = this.#changes.then(async () => {
        if (this.#closed || this.#failed.get(spec.key)?.timer !== timer) return
        this.#failed.delete(spec.key)
        const former = this.#listening.get(spec.key)
        const report = await this.#bind(spec)
        if (report.error === undefined) former?.server.close()
        else this.#retryLater(spec, report.error, Math.min(delayMs * 2, lastRetryMs))
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
    // close(2) resets what is queued. The loop accepts all of it in its poll phase, so a turn without one has emptied it.
    const maxTurns = 100
    for (let turn = 0, before = -1; turn < maxTurns && before !== listening.accepted; turn++) {
      before = listening.accepted
      await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    }
    this.#listening.delete(key)
    listening.server.close()
  }
}

function listen(server: Server, bind: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: bind.host, port: bind.port, backlog }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** Waits for the socket only: `close` of a server waits for its connections too. */
function close(server: Server): Promise<void> {
  server.close()
  return new Promise(resolve => setImmediate(resolve))
}

/** Where a port is the kernel's choice, no other listener can mean the same socket. */
function placeOf({ key, bind }: ListenerSpec): string {
  return bind.port === 0 ? `${key} at ${bind.host}` : formatAddress(bind)
}

function reportOf({ spec, server }: Listening): ListenerReport {
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : spec.bind.port
  return { key: spec.key, name: spec.name, direction: spec.direction, bind: { host: spec.bind.host, port } }
}
