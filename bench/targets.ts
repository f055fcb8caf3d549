// What being first means, figure by figure: how each is computed from a round, and what it has to be.
import { addedByHop, bestAdded, bestPeer, residentMb } from './figures.ts'
import { measured, type Results, type Round } from './results.ts'
import { ratio } from './statistics.ts'

export interface Target {
  readonly figure: string
  /** As a reader sees it. */
  readonly goal: string
  readonly limit: number
  /** Whether more is better than the limit, or less. */
  readonly better: 'more' | 'less'
  readonly unit: string
  readonly inRound: (round: Round, results: Results) => number | undefined
}

const own = 'sidesplice-native'
const x = ' x'

const bulkTargets = (['up', 'down'] as const).flatMap((way): Target[] => {
  const scenario = `bulk-${way}-1`
  const against = (value: 'gbits' | 'cpu', other: string) => (round: Round) =>
    ratio(measured(round, own, scenario, value), measured(round, other, scenario, value))
  const againstBest = (name: 'gbits' | 'cpu', best: 'most' | 'least') => (round: Round, results: Results) =>
    ratio(measured(round, own, scenario, name), bestPeer(round, results, { scenario, name, best }))
  const more = { better: 'more', unit: x } as const
  const less = { better: 'less', unit: x } as const
  const stream = `one stream ${way}`
  return [
    {
      ...more,
      figure: `${stream}: Gbit/s against the best TLS peer`,
      goal: '≥ 1.6 x',
      limit: 1.6,
      inRound: againstBest('gbits', 'most'),
    },
    {
      ...more,
      figure: `${stream}: Gbit/s against the floor`,
      goal: '≥ 0.85 x',
      limit: 0.85,
      inRound: against('gbits', 'floor'),
    },
    {
      ...more,
      figure: `${stream}: Gbit/s against HAProxy without TLS`,
      goal: '≥ 1.3 x',
      limit: 1.3,
      inRound: against('gbits', 'haproxy-plain'),
    },
    {
      ...less,
      figure: `${stream}: CPU a GB, both hops, against the best TLS peer`,
      goal: '≤ 0.5 x',
      limit: 0.5,
      inRound: againstBest('cpu', 'least'),
    },
    {
      ...less,
      figure: `${stream}: CPU a GB, both hops, against the floor`,
      goal: '≤ 1.35 x',
      limit: 1.35,
      inRound: against('cpu', 'floor'),
    },
  ]
})

export const targets: readonly Target[] = [
  ...bulkTargets,
  {
    figure: 'added p50 a hop, 64 B, 1 connection, against the floor',
    goal: '≤ 1.0 x',
    limit: 1,
    better: 'less',
    unit: x,
    inRound: round =>
      ratio(addedByHop(round, own, 'rtt-64-1', 'p50'), addedByHop(round, 'floor', 'rtt-64-1', 'p50')),
  },
  {
    figure: 'added p99 a hop, 64 B, 16 connections, against the best TLS peer',
    goal: '≤ 0.6 x',
    limit: 0.6,
    better: 'less',
    unit: x,
    inRound: (round, results) =>
      ratio(addedByHop(round, own, 'rtt-64-16', 'p99'), bestAdded(round, results, 'rtt-64-16', 'p99')),
  },
  {
    figure: 'added p99 a hop, 64 B, 16 connections, against the floor',
    goal: '≤ 1.2 x',
    limit: 1.2,
    better: 'less',
    unit: x,
    inRound: round =>
      ratio(addedByHop(round, own, 'rtt-64-16', 'p99'), addedByHop(round, 'floor', 'rtt-64-16', 'p99')),
  },
  {
    figure: 'p99 of 64 B beside 4 bulk streams, against the best TLS peer',
    goal: '≤ 0.6 x',
    limit: 0.6,
    better: 'less',
    unit: x,
    inRound: (round, results) =>
      ratio(
        measured(round, own, 'rtt-beside-bulk', 'p99'),
        bestPeer(round, results, { scenario: 'rtt-beside-bulk', name: 'p99', best: 'least' }),
      ),
  },
  {
    figure: 'full mutual handshakes a second, against the best TLS peer',
    goal: '≥ 1.5 x',
    limit: 1.5,
    better: 'more',
    unit: x,
    inRound: (round, results) =>
      ratio(
        measured(round, own, 'connect', 'connectionsASecond'),
        bestPeer(round, results, { scenario: 'connect', name: 'connectionsASecond', best: 'most' }),
      ),
  },
  {
    figure: "CPU of a resumed connection, both hops, beyond the floor's new connection",
    goal: '≤ 0.5 ms',
    limit: 0.5,
    better: 'less',
    unit: ' ms',
    inRound: round => {
      const [resumed, fresh] = [
        measured(round, 'sidesplice-resumed', 'connect', 'cpuMs'),
        measured(round, 'floor', 'connect', 'cpuMs'),
      ]
      return resumed === undefined || fresh === undefined ? undefined : resumed - fresh
    },
  },
  {
    figure: 'p99.9 of a live session in a storm of handshakes, against its quiet p99.9',
    goal: '≤ 2 x',
    limit: 2,
    better: 'less',
    unit: x,
    inRound: round => ratio(measured(round, own, 'storm', 'p999'), measured(round, own, 'rtt-64-1', 'p999')),
  },
  {
    figure: "p99.9 of a live session in a storm of handshakes, against the best TLS peer's",
    goal: '< 1 x',
    limit: 1,
    better: 'less',
    unit: x,
    inRound: (round, results) =>
      ratio(
        measured(round, own, 'storm', 'p999'),
        bestPeer(round, results, { scenario: 'storm', name: 'p999', best: 'least' }),
      ),
  },
  {
    figure: 'handshakes completed at 4 x the load that saturates, of the peak',
    goal: '≥ 0.8 x',
    limit: 0.8,
    better: 'more',
    unit: x,
    inRound: round =>
      ratio(
        measured(round, own, 'connect-overload', 'connectionsASecond'),
        measured(round, own, 'connect', 'connectionsASecond'),
      ),
  },
  {
    figure: 'an idle session at 8,000',
    goal: '≤ 4 KiB',
    limit: 4,
    better: 'less',
    unit: ' KiB',
    inRound: round => {
      const held = measured(round, own, 'idle', 'a-uss-8000')
      const bytes = measured(round, own, 'idle', 'bytesEach')
      return held === undefined || bytes === undefined ? undefined : bytes / 1024
    },
  },
  {
    figure: "resident memory with 8,000 idle sessions, both sidecars, against Consul's proxy",
    goal: '≤ 0.125 x',
    limit: 0.125,
    better: 'less',
    unit: x,
    inRound: round => ratio(residentMb(round, own, 8000), residentMb(round, 'consul', 8000)),
  },
  {
    figure: 'resident memory of a sidecar with no session',
    goal: '≤ 60 MB',
    limit: 60,
    better: 'less',
    unit: ' MB',
    inRound: round => {
      const values = ['a', 'b'].map(hop => measured(round, own, 'idle', `${hop}-rss-0`))
      const known = values.filter(value => value !== undefined)
      return known.length === 0 ? undefined : (Math.max(...known) * 1024) / 1e6
    },
  },
  {
    figure: 'memory of each of 50 sidecars on a host (PSS)',
    goal: '≤ 40 MB',
    limit: 40,
    better: 'less',
    unit: ' MB',
    inRound: round => measured(round, own, 'fleet', 'pssMb'),
  },
  {
    figure: 'JavaScript data plane, one stream up, against nginx',
    goal: '≥ 0.5 x',
    limit: 0.5,
    better: 'more',
    unit: x,
    inRound: round =>
      ratio(
        measured(round, 'sidesplice-javascript', 'bulk-up-1', 'gbits'),
        measured(round, 'nginx', 'bulk-up-1', 'gbits'),
      ),
  },
  {
    figure: 'start to ready, static configuration',
    goal: '≤ 300 ms',
    limit: 300,
    better: 'less',
    unit: ' ms',
    inRound: round => {
      const values = ['a', 'b'].map(hop => measured(round, own, 'start', hop))
      const known = values.filter(value => value !== undefined)
      return known.length === 0 ? undefined : Math.max(...known)
    },
  },
]
