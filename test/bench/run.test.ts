// The command itself: two short rounds over two chains, and what it leaves behind.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { GrowthResults } from '../../bench/growth.ts'
import { type Results, readJson } from '../../bench/results.ts'
import { build, packageRoot } from '../support/command.ts'

const folder = mkdtempSync(join(tmpdir(), 'sidesplice-run-'))
const file = join(folder, 'results.json')

before(build)
after(() => rmSync(folder, { recursive: true, force: true }))

function bench(...args: string[]) {
  const all = ['--disable-warning=ExperimentalWarning', 'bench/main.ts', ...args]
  return spawnSync(process.execPath, all, {
    cwd: packageRoot,
    encoding: 'utf8',
    env: { ...process.env, TMPDIR: folder },
  })
}

test('a run leaves its results, a page and nothing else', () => {
  const peers = ['sidesplice-native', 'haproxy', 'direct']
  const scenarios = ['bulk-up-1', 'rtt-64-1', 'rtt-beside-bulk', 'connect', 'storm']
  const { status, stdout, stderr } = bench(
    ...['--rounds', '2', '--seconds', '0.2', '--out', file],
    ...['--peer', ...peers, '--scenario', ...scenarios],
  )
  assert.equal(status, 0, stdout + stderr)
  const results = readJson<Results>(file)
  assert.equal(results.complete, true)
  assert.deepEqual(results.errors, [])
  assert.equal(results.rounds.length, 2)
  for (const round of results.rounds)
    for (const peer of peers)
      for (const scenario of scenarios) {
        const values = Object.values(round[peer]?.[scenario]?.values ?? {})
        assert.ok(values.length > 2 && values.every(Number.isFinite), `${scenario} of ${peer}`)
      }
  assert.equal(results.chains['sidesplice-native']?.protocol, 'TLSv1.3')
  assert.doesNotMatch(results.command, /results\.json/)
  assert.match(stdout, /^HAProxy +\d/m)
  assert.match(stdout, /^one stream up: Gbit\/s against the best TLS peer +≥ 1\.6 x +\d/m)
  assert.ok(existsSync(join(folder, 'results.html')))
  assert.deepEqual(readdirSync(folder).toSorted(), ['results.html', 'results.json'])
})

test('growth is measured over streams, workers, idle connections and upstreams', () => {
  const grown = join(folder, 'growth.json')
  const { status, stdout, stderr } = bench(
    ...['--scenario', 'growth', '--quick', '--rounds', '1', '--seconds', '0.2', '--out', grown],
  )
  assert.equal(status, 0, stdout + stderr)
  const sizes = readJson<GrowthResults>(grown).growth.map(({ of, points }) => {
    assert.ok(
      points.every(([, cost]) => cost > 0),
      of,
    )
    return points.map(([size]) => size)
  })
  const [streams, workers, idle, upstreams] = [
    [1, 4, 16],
    [1, 2],
    [0, 500, 1_000],
    [1, 10, 100],
  ]
  assert.deepEqual(sizes, [streams, streams, workers, workers, idle, upstreams, upstreams, upstreams])
  assert.match(stdout, /^start to ready, ms, by upstreams of 10 endpoints$/m)
})

test('the embedded agent is measured by calls, watches and new proxies', () => {
  const file = join(folder, 'agent.json')
  const { status, stdout, stderr } = bench(
    ...['--scenario', 'agent', '--quick', '--seconds', '0.2', '--out', file],
  )
  assert.equal(status, 0, stdout + stderr)
  const costs = readJson<GrowthResults>(file).growth
  const [calls, services, proxies] = [
    [1, 16],
    [1, 100],
    [1, 2],
  ]
  assert.deepEqual(
    costs.map(({ points }) => points.map(([size]) => size)),
    [calls, calls, services, services, services, services, proxies],
  )
  for (const { of, points } of costs)
    assert.ok(
      points.every(([, cost]) => cost > 0),
      of,
    )
})

test('a name that is no scenario is refused', () => {
  const { status, stderr } = bench('--scenario', 'bulk-sideways')
  assert.equal(status, 1)
  assert.match(stderr, /bulk-sideways/)
})
