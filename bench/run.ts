// The order of a run: every chain is opened and asked once, then round after round each scenario runs over all chains in an order of
// chance. What a round found is on disk before the next begins.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeIdentities } from '../src/bench/identities.ts'
import { LoadServer } from '../src/bench/load.ts'
import { describeMachine } from '../src/bench/machine.ts'
import { Chain, type World } from './chain.ts'
import { measureFleet } from './fleet.ts'
import { WrongSetup } from './negotiated.ts'
import type { Peer } from './peer.ts'
import { type ChainFacts, type Measurement, type Results, type Round, writeJson } from './results.ts'
import type { Length, Scenario } from './scenarios.ts'

export interface Plan {
  readonly peers: readonly Peer[]
  readonly scenarios: readonly Scenario[]
  readonly rounds: number
  /** Memory moves little from round to round, and takes long. */
  readonly memoryRounds: number
  readonly fleet: number
  readonly length: Length
  /** Where results go, again after each round. */
  readonly file: string
  readonly command: string
}

export interface Progress {
  readonly done: number
  readonly of: number
  readonly round: number
  readonly what: string
}

export interface Watching {
  readonly onProgress: (progress: Progress, results: Results) => void
  /** Ends the run between two measurements: what there is stays. */
  readonly signal: AbortSignal
}

/** @throws WrongSetup where a peer does not do what it is measured for */
export async function runBench(plan: Plan, { onProgress, signal }: Watching): Promise<Results> {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-bench-'))
  const app = await LoadServer.start('app', { listen: '127.0.0.1:0' })
  const open: Chain[] = []
  const results = emptyResults(plan)
  try {
    const world = { folder, app: app.address, identities: await makeIdentities(join(folder, 'identities')) }
    for (const peer of plan.peers) {
      const why = peer.missing()
      const chain = why === undefined ? await openChain(peer, world, results) : undefined
      if (chain !== undefined) open.push(chain)
      if (why !== undefined) Object.assign(results.leftOut, { [peer.name]: why })
    }
    const run = new Run(plan, { results, world, open, onProgress, signal })
    for (let round = 0; round < plan.rounds && !signal.aborted; round++) {
      await run.round(round)
      writeJson(plan.file, results)
    }
    results.complete = !signal.aborted
    writeJson(plan.file, results)
    return results
  } finally {
    for (const chain of open) await chain.close()
    app.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Undefined for one that does not run: the others are measured all the same. @throws WrongSetup */
async function openChain(peer: Peer, world: World, results: Results): Promise<Chain | undefined> {
  let chain: Chain | undefined
  try {
    chain = await Chain.open(peer, world)
    const negotiated = await chain.assertNegotiated()
    const facts: ChainFacts = { title: peer.title, kind: peer.kind, version: peer.version(), ...negotiated }
    Object.assign(results.chains, { [peer.name]: facts })
    return chain
  } catch (error) {
    await chain?.close()
    if (!(error instanceof WrongSetup)) {
      results.errors.push(`${peer.title} does not run: ${error instanceof Error ? error.message : error}`)
      return undefined
    }
    // That there is nothing to measure is no mistake.
    if (peer.resumes) {
      Object.assign(results.leftOut, { [peer.name]: error.message })
      return undefined
    }
    throw new WrongSetup(peer.title, `a chain set up wrong (${error.message})`, 'one that can be measured')
  }
}

interface Doing extends Watching {
  readonly results: Results
  readonly world: World
  readonly open: readonly Chain[]
}

class Run {
  readonly #plan: Plan
  readonly #doing: Doing
  #done = 0

  constructor(plan: Plan, doing: Doing) {
    this.#plan = plan
    this.#doing = doing
  }

  async round(number: number): Promise<void> {
    const { open, signal, results } = this.#doing
    const round: Round = {}
    results.rounds.push(round)
    try {
      const running: Chain[] = []
      for (const chain of shuffled(open))
        await this.#try(`the start of ${chain.peer.title}`, async () => {
          await chain.start()
          running.push(chain)
          const { readyMs } = chain
          if (readyMs !== undefined) put(round, chain.peer, 'start', { values: { ...readyMs } })
        })
      for (const scenario of this.#plan.scenarios) {
        if (scenario.forMemory) continue
        for (const chain of shuffled(running.filter(({ peer }) => scenario.applies(peer))))
          if (!signal.aborted) await this.#measure(number, scenario, { chain, round })
      }
    } finally {
      for (const chain of open) await chain.stop()
    }
    if (number < this.#plan.memoryRounds) await this.#memory(number, round)
  }

  /** With chains that are started for it, one at a time. */
  async #memory(number: number, round: Round): Promise<void> {
    const { open, signal, world } = this.#doing
    for (const scenario of this.#plan.scenarios.filter(({ forMemory }) => forMemory))
      for (const { peer } of shuffled(open.filter(chain => scenario.applies(chain.peer)))) {
        if (signal.aborted) return
        await this.#try(`${scenario.title}: ${peer.title}`, async () => {
          const chain = await Chain.open(peer, world, true)
          try {
            await chain.start()
            await this.#measure(number, scenario, { chain, round })
          } finally {
            await chain.close()
          }
        })
      }
    const own = open.find(({ peer }) => peer.name === 'sidesplice-native')
    if (own === undefined || this.#plan.fleet === 0 || number > 0 || signal.aborted) return
    await this.#try(`${this.#plan.fleet} sidecars`, async () =>
      put(round, own.peer, 'fleet', await measureFleet(this.#plan.fleet, world)),
    )
  }

  async #measure(
    number: number,
    scenario: Scenario,
    { chain, round }: { readonly chain: Chain; readonly round: Round },
  ): Promise<void> {
    const { onProgress, results, open } = this.#doing
    const what = `${scenario.title}: ${chain.peer.title}`
    const progress = { done: this.#done++, of: runsOf(this.#plan, open), round: number + 1, what }
    onProgress(progress, results)
    await this.#try(what, async () =>
      put(
        round,
        chain.peer,
        scenario.name,
        await chain.scraped(() => scenario.run(chain, this.#plan.length)),
      ),
    )
  }

  /** A run with an error is no result, and ends no other. */
  async #try(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#doing.results.errors.push(`${what}: ${error instanceof Error ? error.message : error}`)
    }
  }
}

function put(round: Round, peer: Peer, scenario: string, measurement: Measurement): void {
  round[peer.name] ??= {}
  Object.assign(round[peer.name] ?? {}, { [scenario]: measurement })
}

function runsOf({ scenarios, rounds, memoryRounds }: Plan, open: readonly Chain[]): number {
  return scenarios.reduce((sum, { applies, forMemory }) => {
    const chains = open.filter(({ peer }) => applies(peer)).length
    return sum + chains * (forMemory ? Math.min(memoryRounds, rounds) : rounds)
  }, 0)
}

function emptyResults({ scenarios, command }: Plan): Results {
  return {
    startedAt: new Date().toISOString(),
    command,
    machine: describeMachine(),
    chains: {},
    leftOut: {},
    scenarios: Object.fromEntries(scenarios.map(({ name, title }) => [name, title])),
    rounds: [],
    errors: [],
    complete: false,
  }
}

function shuffled<Item>(items: readonly Item[]): Item[] {
  return items
    .map(item => ({ item, at: Math.random() }))
    .toSorted((one, other) => one.at - other.at)
    .map(({ item }) => item)
}
