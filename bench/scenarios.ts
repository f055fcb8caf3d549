// What is measured on a chain: each scenario drives the load generator and turns what it says, and what /proc says of both sidecars,
// into values.
import {
  type BulkResult,
  type ConnectResult,
  HeldConnections,
  runLoad,
  type TripsResult,
} from '../src/bench/load.ts'
import type { Memory } from '../src/bench/usage.ts'
import type { Chain, PerHop } from './chain.ts'
import type { Peer } from './peer.ts'
import type { Measurement } from './results.ts'

export interface Scenario {
  readonly name: string
  readonly title: string
  /** Roughly how long one run takes, for the estimate that is shown. */
  readonly seconds: number
  /** For the table of targets; the rest runs when it is asked for. */
  readonly main: boolean
  readonly applies: (peer: Peer) => boolean
  /** A chain of its own, started for it. */
  readonly forMemory?: boolean
  readonly run: (chain: Chain, length: Length) => Promise<Measurement>
}

export interface Length {
  /** Of each run. */
  readonly seconds: number
  readonly idleSteps: readonly number[]
}

const inFlight = 16
// Four times as many as keep both cores busy with handshakes.
const overload = 4 * inFlight
const stormNice = 19
const everyone = ({ resumes }: Peer) => !resumes

const bulks = (['up', 'down', 'both'] as const).flatMap(direction =>
  [1, 4, 16].map(streams => bulk(direction, streams, streams === 1 && direction !== 'both')),
)
const trips = [64, 1024, 16_384].flatMap(bytes =>
  [1, 16].map(connections => roundTrips(bytes, connections, bytes === 64)),
)

export const scenarios: readonly Scenario[] = [
  ...bulks,
  ...trips,
  {
    name: 'rtt-beside-bulk',
    title: 'round trips of 64 B beside 4 bulk streams',
    seconds: 3,
    main: true,
    applies: everyone,
    run: async ({ to }, { seconds }) => {
      const bulk = runLoad<BulkResult>('bulk', { to, streams: 4, seconds: seconds + 0.6 })
      const [measured] = await Promise.all([runTrips(to, { bytes: 64, connections: 1, seconds }), bulk])
      return measured
    },
  },
  {
    name: 'connect',
    title: `new connections, ${inFlight} at a time`,
    seconds: 3,
    main: true,
    applies: () => true,
    run: (chain, { seconds }) => connections(chain, { 'in-flight': inFlight, seconds }),
  },
  {
    name: 'connect-overload',
    title: `new connections, ${overload} at a time`,
    seconds: 3,
    main: true,
    applies: ({ kind, resumes }) => kind === 'own' && !resumes,
    run: (chain, { seconds }) => connections(chain, { 'in-flight': overload, seconds }),
  },
  {
    name: 'storm',
    title: `round trips of 64 B during a storm of handshakes, ${overload} at a time`,
    seconds: 3,
    main: true,
    applies: everyone,
    run: async ({ to }, { seconds }) => {
      const options = { to, 'in-flight': overload, seconds: seconds + 0.4, nice: stormNice }
      const storm = runLoad<ConnectResult>('connect', options)
      const [measured, { connectionsASecond }] = await Promise.all([
        runTrips(to, { bytes: 64, connections: 1, seconds }),
        storm,
      ])
      return { ...measured, values: { ...measured.values, connectionsASecond } }
    },
  },
  {
    name: 'churn',
    title: 'connections that each fetch 16 KiB',
    seconds: 3,
    main: false,
    applies: everyone,
    run: (chain, { seconds }) => connections(chain, { 'in-flight': inFlight, bytes: 16_384, seconds }),
  },
  {
    name: 'idle',
    title: 'memory while connections are held',
    seconds: 35,
    main: true,
    applies: ({ holdsIdle }) => holdsIdle,
    forMemory: true,
    run: idle,
  },
]

function bulk(direction: 'up' | 'down' | 'both', streams: number, main: boolean): Scenario {
  const way = { up: 'up', down: 'down', both: 'both ways' }[direction]
  return {
    name: `bulk-${direction}-${streams}`,
    title: `${streams} ${streams === 1 ? 'stream' : 'streams'} ${way}`,
    seconds: 3,
    main,
    applies: everyone,
    run: async (chain, { seconds }) => {
      // Buffers and windows grow with the first bytes.
      await runLoad('bulk', { to: chain.to, direction, streams, seconds: 0.2 })
      const { result, cpu } = await withCpu(chain, () =>
        runLoad<BulkResult>('bulk', { to: chain.to, direction, streams, seconds }),
      )
      const gigabytes = (result.bytesUp + result.bytesDown) / 1e9
      const [cpuA, cpuB] = [cpu.a / gigabytes, cpu.b / gigabytes]
      return { values: { gbits: result.gbits, cpuA, cpuB, cpu: cpuA + cpuB } }
    },
  }
}

interface TripOptions {
  readonly bytes: number
  readonly connections: number
  readonly seconds: number
}

function roundTrips(bytes: number, connections: number, main: boolean): Scenario {
  const size = bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`
  return {
    name: `rtt-${bytes}-${connections}`,
    title: `round trips of ${size}, ${connections} ${connections === 1 ? 'connection' : 'connections'}`,
    seconds: 3,
    main,
    applies: everyone,
    run: ({ to }, { seconds }) => runTrips(to, { bytes, connections, seconds }),
  }
}

async function runTrips(to: string, options: TripOptions): Promise<Measurement> {
  const { microseconds } = await runLoad<TripsResult>('rtt', { to, ...options })
  const { p50, p90, p99, p999, max, count, curve } = microseconds
  return { values: { p50, p90, p99, p999, max, count }, curve }
}

async function connections(chain: Chain, options: Readonly<Record<string, number>>): Promise<Measurement> {
  const { result, cpu } = await withCpu(chain, () =>
    runLoad<ConnectResult>('connect', { to: chain.to, ...options }),
  )
  const { microseconds, connectionsASecond, connections: count } = result
  const { p50, p99 } = microseconds
  const cpuMs = ((cpu.a + cpu.b) * 1_000) / count
  return { values: { connectionsASecond, cpuMs, p50, p99, count } }
}

async function withCpu<Result>(
  chain: Chain,
  work: () => Promise<Result>,
): Promise<{ readonly result: Result; readonly cpu: PerHop<number> }> {
  const before = chain.cpuSeconds()
  const result = await work()
  const after = chain.cpuSeconds()
  return { result, cpu: { a: after.a - before.a, b: after.b - before.b } }
}

/** KiB by step: `a-uss-0`, `b-rss-8000`, …; and what a connection adds to the busier of both, in bytes. */
async function idle(chain: Chain, { idleSteps }: Length): Promise<Measurement> {
  const values: Record<string, number> = {}
  const put = (step: number, { a, b }: PerHop<Memory>) => {
    for (const [hop, held] of Object.entries({ a, b }))
      for (const [name, kib] of Object.entries(held)) values[`${hop}-${name}-${step}`] = kib
  }
  // Whatever is loaded with the first connection is not a connection's.
  await runLoad('connect', { to: chain.to, 'in-flight': 1, seconds: 0.2 })
  put(0, await chain.memory())
  const held = new HeldConnections(chain.to, idleSteps)
  try {
    for (const step of idleSteps) {
      await held.step()
      put(step, await chain.memory())
      held.goOn()
    }
    await held.end()
  } finally {
    held.kill()
  }
  const most = idleSteps.at(-1) ?? 0
  const each = (hop: string) =>
    (((values[`${hop}-uss-${most}`] ?? 0) - (values[`${hop}-uss-0`] ?? 0)) * 1024) / most
  return { values: { ...values, bytesEach: Math.max(each('a'), each('b')) } }
}
