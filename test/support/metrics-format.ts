// Prometheus' text format, read strictly: https://prometheus.io/docs/instrumenting/exposition_formats/
import assert from 'node:assert/strict'
import { parseMetrics, type Sample } from './running-sidecar.ts'

export interface Family {
  readonly name: string
  readonly help: string
  readonly type: string
  readonly samples: readonly Sample[]
}

const metaForm = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (\S.*)$/
const histogramSuffix = /_(bucket|sum|count)$/

/** The metrics of a scrape by name. Throws where a line, or the order of lines, is not of the format. */
export function parseFamilies(text: string): ReadonlyMap<string, Family> {
  assert.ok(text.endsWith('\n'), 'the last line ends')
  const families = new Map<string, Family & { samples: Sample[] }>()
  let help: { readonly name: string; readonly text: string } | undefined
  let current: (Family & { samples: Sample[] }) | undefined
  for (const line of text.split('\n').filter(one => one !== '')) {
    const [, kind, name = '', rest = ''] = metaForm.exec(line) ?? []
    if (kind === 'HELP') {
      assert.equal(help, undefined, `${help?.name} has no type`)
      help = { name, text: rest }
      continue
    }
    if (kind === 'TYPE') {
      assert.equal(help?.name, name, 'help and type stand together')
      assert.ok(!families.has(name), `${name} stands once`)
      assert.match(rest, /^(counter|gauge|histogram|summary)$/)
      current = { name, help: help?.text ?? '', type: rest, samples: [] }
      families.set(name, current)
      help = undefined
      continue
    }
    const [sample] = parseMetrics(line)
    assert.ok(sample !== undefined && current !== undefined && help === undefined, line)
    const of = /^(histogram|summary)$/.test(current.type)
      ? sample.name.replace(histogramSuffix, '')
      : sample.name
    assert.equal(of, current.name, 'a sample stands below its own type')
    current.samples.push(sample)
  }
  for (const family of families.values()) assertFamily(family)
  return families
}

function assertFamily({ name, type, samples }: Family): void {
  const series = samples.map(sample =>
    JSON.stringify([sample.name, Object.entries(sample.labels).toSorted()]),
  )
  assert.equal(new Set(series).size, series.length, `${name} has each series once`)
  if (type === 'counter')
    for (const { value } of samples) assert.ok(value >= 0, `${name}: a counter of ${value}`)
  if (type === 'histogram') assertHistogram(name, samples)
}

function assertHistogram(name: string, samples: readonly Sample[]): void {
  const groups = new Map<string, Sample[]>()
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels
    const key = JSON.stringify(labels)
    groups.set(key, [...(groups.get(key) ?? []), sample])
  }
  for (const [labels, group] of groups) {
    const buckets = group.filter(sample => sample.name === `${name}_bucket`)
    const bounds = buckets.map(({ labels }) => Number(labels.le?.replace('Inf', 'Infinity')))
    assert.deepEqual(
      bounds,
      bounds.toSorted((one, other) => one - other),
      `${name}${labels}`,
    )
    assert.equal(bounds.at(-1), Number.POSITIVE_INFINITY, `${name}${labels}`)
    const counts = buckets.map(({ value }) => value)
    assert.deepEqual(
      counts,
      counts.toSorted((one, other) => one - other),
      `${name}${labels} is cumulative`,
    )
    const count = group.find(sample => sample.name === `${name}_count`)?.value
    assert.equal(counts.at(-1), count, `${name}${labels}`)
    assert.ok(
      group.some(sample => sample.name === `${name}_sum`),
      `${name}${labels}`,
    )
  }
}
