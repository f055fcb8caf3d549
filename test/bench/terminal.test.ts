// What stands in the terminal while it runs.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { chainTable, LiveTable, type Screen, short } from '../../bench/terminal.ts'
import { resultsOf, throughput } from './support.ts'

const results = resultsOf([throughput({ 'sidesplice-native': 8.25, nginx: 4 }), throughput({ nginx: 6 })])
const progress = { done: 3, of: 12, round: 1, what: 'one stream up: nginx' }

function screen(size: Partial<Screen>): Screen & { readonly said: string[] } {
  const said: string[] = []
  return { ...size, said, write: text => said.push(text) }
}

test('a chain has a row of medians, and below it what the rounds were', () => {
  const lines = chainTable(results).split('\n')
  const at = lines.findIndex(line => line.startsWith('nginx <stream> '))
  assert.match(lines[at] ?? '', /^nginx <stream> +5\.00 /)
  assert.match(lines[at + 1] ?? '', /^ +4\.00-6\.00 /)
  assert.match(lines.find(line => line.startsWith('HAProxy')) ?? '', /^HAProxy +- /, 'not measured yet')
})

test('the table stands above the progress, and takes the place of the one before', () => {
  const out = screen({ isTTY: true, columns: 200, rows: 50 })
  const live = new LiveTable(out)
  live.show(progress, results)
  const [first = ''] = out.said
  assert.match(first, /nginx <stream> +5\.00/)
  assert.match(first, /\n█{6}░{18} 3\/12, .* left {2}round 1 {2}one stream up: nginx\n$/)
  const height = first.split('\n').length - 1
  live.show({ ...progress, done: 4 }, results)
  assert.equal(out.said[1], `\x1b[${height}A\x1b[J`)
  live.clear()
  live.clear()
  assert.deepEqual(out.said.slice(3), [`\x1b[${height}A\x1b[J`], 'once')
})

test('a terminal that is too low for the table has the progress alone, cut to its width', () => {
  const out = screen({ isTTY: true, columns: 40, rows: 8 })
  new LiveTable(out).show(progress, results)
  assert.equal(out.said.join('').length, 40)
  assert.doesNotMatch(out.said.join(''), /nginx <stream>/)
})

test('without a terminal there is a line for each round', () => {
  const out = screen({})
  const live = new LiveTable(out)
  live.show(progress, results)
  live.show({ ...progress, done: 4 }, results)
  live.show({ ...progress, round: 2 }, results)
  live.clear()
  assert.deepEqual(out.said, ['round 1\n', 'round 2\n'])
})

test('three digits are shown', () => {
  assert.deepEqual([0.123, 4.567, 45.67, 456.7, 4567.8].map(short), ['0.12', '4.57', '45.7', '457', '4,568'])
})
