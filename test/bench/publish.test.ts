// Figures that people read come from results that are recorded.
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import type { GrowthResults } from '../../bench/growth.ts'
import { places, type Recorded, withSection } from '../../bench/publish.ts'
import { lastRecorded, type Results, readJson } from '../../bench/results.ts'
import { resultsOf, throughput } from './support.ts'

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')

function recorded(): Recorded {
  const [run, growth, agent] = [lastRecorded('run'), lastRecorded('growth'), lastRecorded('agent')]
  assert.ok(
    run !== undefined && growth !== undefined && agent !== undefined,
    'a run is recorded, how cost grows, and what the agent costs',
  )
  return {
    results: readJson<Results>(run),
    growth: readJson<GrowthResults>(growth),
    agent: readJson<GrowthResults>(agent),
  }
}

for (const { file, section, write } of places)
  test(`the figures of ${section} in ${file} are those of the last recorded run`, () => {
    assert.equal(read(file), withSection(read(file), section, write(recorded())))
    const { machine, command, startedAt } = resultsOf([])
    const other: Recorded = {
      results: resultsOf([throughput({ 'sidesplice-native': 1, nginx: 1 })]),
      growth: { machine, command, startedAt, growth: [] },
      agent: { machine, command, startedAt, growth: [] },
    }
    assert.notEqual(read(file), withSection(read(file), section, write(other)))
  })

test('a file without a place for figures is refused', () => {
  const [begin, end] = ['<!-- bench x: npm run bench -- --publish writes it -->', '<!-- /bench x -->']
  assert.equal(withSection(`a ${begin} b ${end} c`, 'x', 'new'), `a ${begin}\n\nnew\n\n${end} c`)
  assert.throws(() => withSection(`a ${begin} b ${end} c`, 'y', 'new'), /no place for the figures of y/)
})

test('the picture of the README is there', () => {
  assert.match(read('README.md'), /!\[[^\]]+\]\(docs\/bench\.png\)/)
  assert.ok(existsSync(new URL('../../docs/bench.png', import.meta.url)))
})
