// What a hop costs here: two sidecars of this package with certificates made for it, gone afterwards.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeIdentities } from '../../bench/identities.ts'
import { type BulkResult, runLoad } from '../../bench/load.ts'
import { ProxyProcess } from '../../bench/process.ts'
import { type Sidecars, sidecarPair } from '../../bench/sidecars.ts'
import { cpuSeconds, memory } from '../../bench/usage.ts'
import { type Figures, measureChain } from './chain-figures.ts'

export interface HopOptions {
  readonly app: string
  readonly direct: Figures
  readonly seconds: number
  readonly say: (line: string) => void
  readonly row: (name: string, value: string) => void
  readonly tell: (figures: Figures) => void
}

export async function measureHop(options: HopOptions): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sidesplice-bench-'))
  const running: ProxyProcess[] = []
  try {
    const identities = await makeIdentities(folder)
    const bin = process.argv[1] ?? ''
    const pair = await sidecarPair({ folder, bin, dataPlane: 'auto', app: options.app, identities })
    for (const spec of [pair.b, pair.a]) running.push(await ProxyProcess.start(spec))
    await tellOf(pair, running, options)
  } finally {
    await Promise.all(running.map(one => one.stop()))
    await rm(folder, { recursive: true, force: true })
  }
}

async function tellOf(
  { to, a }: Sidecars,
  running: readonly ProxyProcess[],
  { direct, seconds, say, row, tell }: HopOptions,
): Promise<void> {
  const [, plane = 'unknown'] = /data_plane=(\w+)/.exec(await readFile(a.log, 'utf8')) ?? []
  const idleMb = (Math.max(...running.map(({ pid }) => memory(pid).rss)) * 1_024) / 1e6
  say(`two sidecars, mutual TLS 1.3, data plane ${plane}:`)
  const figures = await measureChain(to, seconds)
  tell(figures)
  const used = () => running.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0)
  const before = used()
  const { bytesUp } = await runLoad<BulkResult>('bulk', { to, direction: 'up', seconds })
  const each = (used() - before) / (bytesUp / 1e9) / 2
  say('that is, for one hop:')
  row(
    'added to a round trip, us',
    `p50 ${added(figures, direct, 'p50')}, p99 ${added(figures, direct, 'p99')}`,
  )
  row('CPU-seconds a GB', each.toFixed(2))
  row('memory without a session, MB', idleMb.toFixed(0))
  row('start to ready, ms', Math.max(...running.map(({ readyMs }) => readyMs)).toFixed(0))
}

function added(chain: Figures, direct: Figures, name: 'p50' | 'p99'): string {
  return ((chain.trip[name] - direct.trip[name]) / 2).toFixed(0)
}
