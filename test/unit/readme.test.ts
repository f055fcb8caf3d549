import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { createMetrics } from '../../src/admin/metrics.ts'
import { parseConfig } from '../../src/config/config.ts'
import { scalarSettings } from '../../src/config/schema.ts'
import { attemptOutcomes, endReasons } from '../../src/data-plane/reasons.ts'

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')

test('the README says what each reason and each outcome means, in the words of the code', () => {
  for (const [reason, meaning] of Object.entries(endReasons))
    assert.ok(readme.includes(`| \`${reason}\` | ${meaning} |`), reason)
  for (const [outcome, meaning] of Object.entries(attemptOutcomes))
    assert.ok(readme.includes(`\`${outcome}\` (${meaning})`), outcome)
})

test('the README has a row for each setting, with its key, flag and default', () => {
  for (const [name, setting] of scalarSettings()) {
    const row = readme.split('\n').find(line => line.startsWith(`| \`${name}\` | \`--`))
    assert.ok(row?.includes(`\`--${name.replaceAll('_', '-')}\``), name)
    if (setting.default !== undefined)
      assert.ok(row?.includes(`| ${setting.default}`), `${name}: default ${setting.default}`)
  }
})

test("the README's example is a good configuration", () => {
  const text = /```json\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  assert.equal(parseConfig({ file: 'web.json', text, overrides: new Map() }).service, 'web')
})

test('the README names every metric of ours, and none that there is not', async () => {
  const metrics = createMetrics({
    version: '0',
    dataPlaneName: 'x',
    counters: () => ({ listeners: new Map() }),
    leaf: () => undefined,
    generation: () => 0,
    ready: () => true,
    logLinesDropped: () => 0,
    watchAges: () => new Map([['roots', 0]]),
  })
  const served = new Set(
    [...(await metrics.text()).matchAll(/^# TYPE (sidesplice_\w+)/gm)].map(match => match[1]),
  )
  const named = new Set([...readme.matchAll(/`(sidesplice_\w+)`/g)].map(match => match[1]))
  assert.deepEqual([...named].toSorted(), [...served].toSorted())
})
