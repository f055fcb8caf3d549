// A chain of one peer: opened once, started anew each round, asked what it negotiates before its first measurement.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Identities } from '../src/bench/identities.ts'
import { ProxyProcess } from '../src/bench/process.ts'
import { cpuSeconds, type Memory, memory, tree } from '../src/bench/usage.ts'
import { assertDialing, assertServing, type Negotiated, WrongSetup } from './negotiated.ts'
import type { ChainSetup, Peer } from './peer.ts'

export interface World {
  readonly folder: string
  readonly app: string
  readonly identities: Identities
}

/** Of A and of B. */
export interface PerHop<Value> {
  readonly a: Value
  readonly b: Value
}

// The native data plane gives memory back to the system a few seconds after it was idle.
const settleMs = 6_000
const scrapeEveryMs = 1_000

export class Chain {
  readonly peer: Peer
  readonly #setup: ChainSetup
  readonly #identities: Identities
  #a: ProxyProcess | undefined
  #b: ProxyProcess | undefined

  private constructor(peer: Peer, setup: ChainSetup, identities: Identities) {
    this.peer = peer
    this.#setup = setup
    this.#identities = setup.identities ?? identities
  }

  static async open(peer: Peer, world: World, forMemory = false): Promise<Chain> {
    const folder = join(world.folder, `${peer.name}${forMemory ? '-memory' : ''}`)
    await mkdir(folder, { recursive: true })
    const setup = await peer.open({ folder, app: world.app, identities: world.identities, forMemory })
    return new Chain(peer, setup, world.identities)
  }

  get to(): string {
    return this.#setup.to
  }

  get hasHops(): boolean {
    return this.#setup.a !== undefined
  }

  /** Start to ready. */
  get readyMs(): PerHop<number> | undefined {
    if (this.#a === undefined || this.#b === undefined) return undefined
    return { a: this.#a.readyMs, b: this.#b.readyMs }
  }

  /** How both hops speak; undefined for a chain without TLS. @throws WrongSetup */
  async assertNegotiated(): Promise<Negotiated | undefined> {
    const { a, b, bAddress } = this.#setup
    if (this.peer.kind === 'plain' || a === undefined || b === undefined || bAddress === undefined)
      return undefined
    try {
      this.#a = await ProxyProcess.start(a)
      const dialing = await assertDialing({
        to: this.to,
        bAddress,
        identities: this.#identities,
        resumes: this.peer.resumes === true,
      })
      this.#b = await ProxyProcess.start(b)
      const serving = await assertServing(bAddress, this.#identities)
      if (dialing.protocol !== serving.protocol)
        throw new WrongSetup('sidecar A', dialing.protocol, serving.protocol)
      return serving
    } finally {
      await this.stop()
    }
  }

  /** B first: A may look whether it is there. */
  async start(): Promise<void> {
    const { a, b } = this.#setup
    if (b !== undefined) this.#b = await ProxyProcess.start(b)
    if (a !== undefined) this.#a = await ProxyProcess.start(a)
  }

  async stop(): Promise<void> {
    await Promise.all([this.#a?.stop(), this.#b?.stop()])
    this.#a = undefined
    this.#b = undefined
  }

  async close(): Promise<void> {
    await this.stop()
    await this.#setup.close?.()
  }

  /** Of A and B, children included. */
  get pids(): readonly number[] {
    return [this.#a, this.#b].flatMap(one => (one === undefined ? [] : tree(one.pid)))
  }

  cpuSeconds(): PerHop<number> {
    return { a: this.#a ? cpuSeconds(this.#a.pid) : 0, b: this.#b ? cpuSeconds(this.#b.pid) : 0 }
  }

  /** What both hold once they are at rest. */
  async memory(): Promise<PerHop<Memory>> {
    const [a, b] = [this.#a?.pid ?? 0, this.#b?.pid ?? 0]
    const signal = this.#setup.settleSignal
    const settle = () => signal !== undefined && [a, b].map(pid => process.kill(pid, signal))
    settle()
    await wait(settleMs)
    settle()
    await wait(500)
    return { a: memory(a), b: memory(b) }
  }

  /** Runs `work` while both sidecars' metrics are read each second, where they have any. */
  async scraped<Result>(work: () => Promise<Result>): Promise<Result> {
    const scrape = () => {
      for (const address of this.#setup.metrics ?? [])
        fetch(`http://${address}/metrics`).then(
          response => response.arrayBuffer(),
          () => undefined,
        )
    }
    const timer = setInterval(scrape, scrapeEveryMs)
    try {
      return await work()
    } finally {
      clearInterval(timer)
    }
  }
}
