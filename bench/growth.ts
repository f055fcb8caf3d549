// How cost grows: with streams, with connections that are held, with workers, and with what a sidecar has to know. Each cost is set
// beside what it grows with: a factor above that of the size would be worse than linear.
import { mkdtempSync, rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeIdentities } from '../src/bench/identities.ts'
import { type BulkResult, HeldConnections, LoadServer, runLoad } from '../src/bench/load.ts'
import type { Machine } from '../src/bench/machine.ts'
import { Chain, type World } from './chain.ts'
import { measureUpstreams } from './growth-upstreams.ts'
import { native, sidespliceWith } from './peers/sidesplice.ts'
import { summarize } from './statistics.ts'
import { short } from './terminal.ts'

/** One cost over sizes. */
export interface Growth {
  readonly of: string
  readonly unit: string
  readonly over: string
  readonly points: readonly (readonly [size: number, cost: number])[]
}

/** As it is written to bench/results/. */
export interface GrowthResults {
  readonly startedAt: string
  readonly command: string
  readonly machine: Machine
  readonly growth: readonly Growth[]
}

export interface GrowthPlan {
  readonly seconds: number
  readonly rounds: number
  readonly idleSteps: readonly number[]
  readonly upstreams: readonly number[]
  readonly onProgress: (what: string) => void
}

const streams = [1, 4, 16]
const workers = [1, 2]
const streamsOfWorkers = 4

export async function measureGrowth(plan: GrowthPlan): Promise<readonly Growth[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-growth-'))
  const app = await LoadServer.start('app', { listen: '127.0.0.1:0' })
  try {
    const world = { folder, app: app.address, identities: await makeIdentities(join(folder, 'identities')) }
    const found = [
      await overStreams(plan, world),
      await overWorkers(plan, world),
      await overIdle(plan, world),
    ]
    const own = join(folder, 'upstreams')
    await mkdir(own)
    return [...found.flat(), ...(await measureUpstreams(plan, { ...world, folder: own }))]
  } finally {
    app.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function overStreams(plan: GrowthPlan, world: World): Promise<readonly Growth[]> {
  const chain = await Chain.open(native, world)
  try {
    await chain.start()
    const points = await bulks(plan, streams, count => ({ chain, count }))
    return [
      { of: 'throughput', unit: 'Gbit/s', over: 'streams', points: points.map(one => [one.size, one.gbits]) },
      {
        of: 'CPU, both hops',
        unit: 's a GB',
        over: 'streams',
        points: points.map(one => [one.size, one.cpu]),
      },
    ]
  } finally {
    await chain.close()
  }
}

async function overWorkers(plan: GrowthPlan, world: World): Promise<readonly Growth[]> {
  const chains = new Map<number, Chain>()
  try {
    for (const count of workers) {
      const chain = await Chain.open(sidespliceWith({ workers: count }, `${count}-workers`), world)
      chains.set(count, chain)
      await chain.start()
    }
    const points = await bulks(plan, workers, count => ({
      chain: chains.get(count),
      count: streamsOfWorkers,
    }))
    const over = `workers, ${streamsOfWorkers} streams`
    return [
      { of: 'throughput', unit: 'Gbit/s', over, points: points.map(one => [one.size, one.gbits]) },
      { of: 'CPU, both hops', unit: 's a GB', over, points: points.map(one => [one.size, one.cpu]) },
    ]
  } finally {
    for (const chain of chains.values()) await chain.close()
  }
}

interface BulkPoint {
  readonly size: number
  readonly gbits: number
  readonly cpu: number
}

/** Sizes in turn, round after round; medians. */
async function bulks(
  { rounds, seconds, onProgress }: GrowthPlan,
  sizes: readonly number[],
  of: (size: number) => { readonly chain: Chain | undefined; readonly count: number },
): Promise<readonly BulkPoint[]> {
  const found = sizes.map(size => ({ size, gbits: [] as number[], cpu: [] as number[] }))
  for (let round = 0; round < rounds; round++)
    for (const { size, gbits, cpu } of found) {
      const { chain, count } = of(size)
      if (chain === undefined) continue
      onProgress(`${count} streams, round ${round + 1}`)
      const before = chain.cpuSeconds()
      const result = await runLoad<BulkResult>('bulk', { to: chain.to, streams: count, seconds })
      const after = chain.cpuSeconds()
      gbits.push(result.gbits)
      cpu.push((after.a + after.b - before.a - before.b) / (result.bytesUp / 1e9))
    }
  const median = (values: readonly number[]) => summarize(values)?.median ?? 0
  return found.map(({ size, gbits, cpu }) => ({ size, gbits: median(gbits), cpu: median(cpu) }))
}

async function overIdle({ idleSteps, onProgress }: GrowthPlan, world: World): Promise<readonly Growth[]> {
  const chain = await Chain.open(native, world, true)
  const points: [number, number][] = []
  const read = async (size: number) => {
    const { a, b } = await chain.memory()
    points.push([size, (Math.max(a.uss, b.uss) * 1_024) / 1e6])
  }
  try {
    await chain.start()
    await runLoad('connect', { to: chain.to, 'in-flight': 1, seconds: 0.2 })
    await read(0)
    const held = new HeldConnections(chain.to, idleSteps)
    try {
      for (const step of idleSteps) {
        onProgress(`${step} idle connections`)
        await held.step()
        await read(step)
        held.goOn()
      }
      await held.end()
    } finally {
      held.kill()
    }
  } finally {
    await chain.close()
  }
  return [{ of: 'memory of the busier sidecar (USS)', unit: 'MB', over: 'idle connections', points }]
}

/** A line for each cost. */
export function growthTable(growths: readonly Growth[]): string {
  return growths
    .map(({ of, unit, over, points }) => {
      const cells = points.map(([size, cost]) => `${size.toLocaleString('en')}: ${short(cost)}`)
      return `${of}, ${unit}, by ${over}\n    ${cells.join('   ')}`
    })
    .join('\n')
}
