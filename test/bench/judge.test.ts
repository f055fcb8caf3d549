// From rounds to ratios, and from ratios to targets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkAgainst } from '../../bench/check.ts'
import { addedByHop } from '../../bench/figures.ts'
import { judge } from '../../bench/judge.ts'
import type { Results } from '../../bench/results.ts'
import { ratio, summarize } from '../../bench/statistics.ts'
import { resultsOf, throughput, value } from './support.ts'

const best = 'one stream up: Gbit/s against the best TLS peer'

function judged(results: Results, figure: string) {
  return judge(results).find(({ target }) => target.figure === figure)
}

test('a median is the middle of the rounds, or between the two middles, with the spread beside it', () => {
  assert.deepEqual(summarize([5, 1, undefined, 3]), { median: 3, low: 1, high: 5, rounds: 3 })
  assert.equal(summarize([4, 1, 2, 100])?.median, 3)
  assert.equal(summarize([undefined]), undefined)
})

test('there is no ratio where a part is missing, or nothing to divide by', () => {
  assert.equal(ratio(3, 2), 1.5)
  for (const [one, other] of [
    [undefined, 2],
    [3, undefined],
    [3, 0],
    [3, -1],
  ])
    assert.equal(ratio(one, other), undefined)
})

test('ratios are taken within a round, against whoever is best in it', () => {
  const rounds = [
    throughput({ 'sidesplice-native': 8, nginx: 4, haproxy: 2 }),
    // The machine is half as fast, and another peer is best: the ratio stays.
    throughput({ 'sidesplice-native': 4, nginx: 1, haproxy: 2 }),
    throughput({ 'sidesplice-native': 9, nginx: 3, haproxy: 2 }),
  ]
  assert.deepEqual(judged(resultsOf(rounds), best)?.measured, { median: 2, low: 2, high: 3, rounds: 3 })
})

test('the best TLS peer is neither ourselves nor one without TLS', () => {
  const round = throughput({ 'sidesplice-native': 8, nginx: 4, floor: 100, direct: 200 })
  assert.equal(judged(resultsOf([round]), best)?.measured?.median, 2)
})

test('a target is met, missed or not measured', () => {
  const of = (own: number) =>
    judged(resultsOf([throughput({ 'sidesplice-native': own, nginx: 1 })]), best)?.met
  assert.equal(of(1.6), true)
  assert.equal(of(1.59), false)
  assert.equal(judged(resultsOf([throughput({ nginx: 1 })]), best)?.met, undefined)
})

test('less is better where a target says so', () => {
  const figure = 'start to ready, static configuration'
  const of = (a: number, b: number) =>
    judged(resultsOf([{ 'sidesplice-native': { start: value({ a, b }) } }]), figure)
  assert.equal(of(100, 300)?.met, true)
  assert.equal(of(100, 301)?.met, false)
  assert.equal(of(100, 301)?.measured?.median, 301, 'the slower of both counts')
})

test('a hop adds half of what the chain adds to the app alone', () => {
  const round = { nginx: { 'rtt-64-1': value({ p50: 300 }) }, direct: { 'rtt-64-1': value({ p50: 100 }) } }
  assert.equal(addedByHop(round, 'nginx', 'rtt-64-1', 'p50'), 100)
  assert.equal(addedByHop({ nginx: round.nginx }, 'nginx', 'rtt-64-1', 'p50'), undefined)
})

test('the guard complains of what is worse than recorded, beyond the spread of both', () => {
  const run = (...own: number[]) =>
    resultsOf(own.map(gbits => throughput({ 'sidesplice-native': gbits, nginx: 1, haproxy: 0.5 })))
  const recorded = run(2, 2.2, 2.1)
  assert.deepEqual(checkAgainst(recorded, run(1.95, 2.3, 2)), [])
  assert.deepEqual(checkAgainst(recorded, run(3, 3, 3)), [], 'better is no complaint')
  const worse = checkAgainst(recorded, run(1.5, 1.6, 1.4))
  assert.ok(worse.includes(`${best}: got 1.50 x, expected 2.00 to 2.20 x`), worse.join('\n'))
  assert.deepEqual(checkAgainst(recorded, resultsOf([])), [], 'what was not measured is not judged')
})
