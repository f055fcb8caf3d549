// One self-contained page from the results: charts as inline SVG, no script, nothing fetched.
import { writeFileSync } from 'node:fs'
import { addedByHop } from '../figures.ts'
import { judge } from '../judge.ts'
import { type Measurement, measured, type Results } from '../results.ts'
import { summarize } from '../statistics.ts'
import { short } from '../terminal.ts'
import { type Bar, barChart } from './bars.ts'
import { growthChart, type Line, latencyChart } from './lines.ts'
import { style } from './style.ts'
import { escapeText } from './svg.ts'

export function writePage(results: Results, file: string): void {
  writeFileSync(file, page(results))
}

export function page(results: Results): string {
  const { machine, rounds, command, startedAt } = results
  const parts = [
    section(
      'Throughput',
      'The whole chain: load, sidecar A, mutual TLS, sidecar B, app. More is better.',
      throughput(results),
    ),
    section('CPU', 'CPU-seconds for a gigabyte, A and B (paler). Less is better.', cpu(results)),
    section(
      'Round trips',
      'From the first byte sent to the last byte back, by percentile. Lower is better.',
      latencies(results),
    ),
    section(
      'What a hop adds to a round trip',
      'The chain less the app alone, halved. Less is better.',
      added(results),
    ),
    section(
      'New connections',
      'A full mutual handshake each, but where there is no TLS.',
      connections(results),
    ),
    section('Memory over connections', 'Both sidecars of a chain (PSS).', memories(results)),
    section('Start', 'From the start of the process to ready.', start(results)),
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>sidesplice bench</title><link rel="icon" href="data:,"><style>${style}</style></head><body>
<h1>What a hop costs</h1>
<p>${escapeText(`${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB; Linux ${machine.kernel}; Node ${machine.node}, OpenSSL ${machine.openssl}; kernel TLS ${machine.kernelTls ? 'offered' : 'not offered'}`)}</p>
<p>${rounds.length} rounds, chains in turn in an order of chance; bars are medians, the marks over them the lowest and the highest round. ${escapeText(startedAt.slice(0, 16).replace('T', ' '))} UTC, <code>${escapeText(command)}</code></p>
${parts.join('\n')}
<h2>Targets</h2><div class="scroll">${targetTable(results)}</div>
<h2>Chains</h2><div class="scroll">${chainTable(results)}</div>
${results.errors.length === 0 ? '' : `<h2>No result</h2><ul>${results.errors.map(error => `<li>${escapeText(error)}</li>`).join('')}</ul>`}
</body></html>
`
}

function section(title: string, note: string, figures: readonly string[]): string {
  const shown = figures.filter(figure => figure !== '')
  if (shown.length === 0) return ''
  return `<h2>${title}</h2><p>${note}</p><div class="grid-of-charts">${shown.join('')}</div>`
}

function figure(title: string, unit: string, chart: string): string {
  return `<figure><figcaption><h3>${escapeText(title)}</h3><small>${escapeText(unit)}</small></figcaption>${chart}</figure>`
}

interface BarsOptions {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly of: (round: Results['rounds'][number], chain: string) => number | undefined
  readonly parts?: (round: Results['rounds'][number], chain: string) => readonly (number | undefined)[]
}

/** Empty where nothing was measured. */
function bars(results: Results, { name, title, unit, of, parts }: BarsOptions): string {
  const rows = Object.entries(results.chains).flatMap(([chain, { title: label }]): Bar[] => {
    const summary = summarize(results.rounds.map(round => of(round, chain)))
    if (summary === undefined) return []
    const shares = parts === undefined ? undefined : sharesOf(results, chain, parts)
    return [
      {
        chain,
        title: label,
        summary,
        ...(shares !== undefined && { parts: shares.map(share => share * summary.median) }),
      },
    ]
  })
  return rows.length === 0 ? '' : figure(title, unit, barChart({ name, title, unit, bars: rows }))
}

/** What each part is of the whole, so that parts of medians add up to the median. */
function sharesOf(
  results: Results,
  chain: string,
  parts: NonNullable<BarsOptions['parts']>,
): readonly number[] {
  const perRound = results.rounds.map(round => parts(round, chain))
  const sums = (perRound[0] ?? []).map((_, at) => perRound.reduce((sum, round) => sum + (round[at] ?? 0), 0))
  const whole = sums.reduce((sum, part) => sum + part, 0) || 1
  return sums.map(part => part / whole)
}

function scenariosOf(results: Results, prefix: string): readonly (readonly [string, string])[] {
  return Object.entries(results.scenarios).filter(([name]) => name.startsWith(prefix))
}

function throughput(results: Results): readonly string[] {
  return scenariosOf(results, 'bulk-').map(([name, title]) =>
    bars(results, {
      name,
      title,
      unit: 'Gbit/s',
      of: (round, chain) => measured(round, chain, name, 'gbits'),
    }),
  )
}

function cpu(results: Results): readonly string[] {
  return scenariosOf(results, 'bulk-').map(([name, title]) =>
    bars(results, {
      name: `${name}-cpu`,
      title,
      unit: 'CPU-seconds a GB',
      of: (round, chain) => (chain === 'direct' ? undefined : measured(round, chain, name, 'cpu')),
      parts: (round, chain) => ['cpuA', 'cpuB'].map(hop => measured(round, chain, name, hop)),
    }),
  )
}

function latencies(results: Results): readonly string[] {
  return [...scenariosOf(results, 'rtt-'), ...scenariosOf(results, 'storm')].map(([name, title]) => {
    const lines = Object.entries(results.chains).flatMap(([chain, { title: label }]): Line[] => {
      const curve = typicalCurve(results, chain, name)
      return curve === undefined ? [] : [{ chain, title: label, points: curve }]
    })
    if (lines.length === 0) return ''
    return figure(
      title,
      'the round with the median p99',
      latencyChart({ name: `${name}-curve`, title, unit: 'us', lines }),
    )
  })
}

function typicalCurve(results: Results, chain: string, scenario: string): Measurement['curve'] {
  const known = results.rounds.flatMap(round => round[chain]?.[scenario] ?? [])
  const byTail = known.toSorted((one, other) => (one.values.p99 ?? 0) - (other.values.p99 ?? 0))
  return byTail[Math.floor((byTail.length - 1) / 2)]?.curve
}

function added(results: Results): readonly string[] {
  return scenariosOf(results, 'rtt-').flatMap(([scenario, title]) =>
    ['p50', 'p99'].map(name =>
      bars(results, {
        name: `${scenario}-${name}`,
        title: `${title}, ${name}`,
        unit: 'us a hop',
        of: (round, chain) => (chain === 'direct' ? undefined : addedByHop(round, chain, scenario, name)),
      }),
    ),
  )
}

function connections(results: Results): readonly string[] {
  const { connect: title = '', storm = '' } = results.scenarios
  return [
    bars(results, {
      name: 'connect',
      title,
      unit: 'connections a second',
      of: (round, chain) =>
        chain === 'direct' ? undefined : measured(round, chain, 'connect', 'connectionsASecond'),
    }),
    bars(results, {
      name: 'connect-cpu',
      title,
      unit: 'ms of CPU a connection, both hops',
      of: (round, chain) => (chain === 'direct' ? undefined : measured(round, chain, 'connect', 'cpuMs')),
    }),
    bars(results, {
      name: 'storm',
      title: `${storm}, p99.9`,
      unit: 'us',
      of: (round, chain) => measured(round, chain, 'storm', 'p999'),
    }),
  ]
}

function memories(results: Results): readonly string[] {
  const title = 'memory while connections are held'
  const lines = Object.entries(results.chains).flatMap(([chain, { title: label }]): Line[] => {
    const steps = stepsOf(results, chain)
    const points = steps.map((step): readonly [number, number] => [step, held(results, chain, step)])
    return points.length < 2 ? [] : [{ chain, title: label, points }]
  })
  if (lines.length === 0) return []
  return [figure(title, 'MB by connections', growthChart({ name: 'memory', title, unit: 'MB', lines }))]
}

function stepsOf(results: Results, chain: string): readonly number[] {
  const names = results.rounds.flatMap(round => Object.keys(round[chain]?.idle?.values ?? {}))
  const steps = names.flatMap(name => /^a-pss-(\d+)$/.exec(name)?.[1] ?? []).map(Number)
  return [...new Set(steps)].toSorted((one, other) => one - other)
}

function held(results: Results, chain: string, step: number): number {
  const kib = results.rounds.map(round => {
    const [a, b] = ['a', 'b'].map(hop => measured(round, chain, 'idle', `${hop}-pss-${step}`))
    return a === undefined || b === undefined ? undefined : a + b
  })
  return ((summarize(kib)?.median ?? 0) * 1_024) / 1e6
}

function start(results: Results): readonly string[] {
  return [
    bars(results, {
      name: 'start',
      title: 'start to ready, sidecar A',
      unit: 'ms',
      of: (round, chain) => measured(round, chain, 'start', 'a'),
    }),
  ]
}

function targetTable(results: Results): string {
  const rows = judge(results).map(({ target, measured: summary, met }) => {
    const verdict = met === undefined ? 'not measured' : met ? 'met' : 'missed'
    const kind = met === undefined ? 'unknown' : verdict
    const value = summary === undefined ? '' : `${short(summary.median)}${target.unit}`
    const spread = summary === undefined ? '' : `${short(summary.low)} to ${short(summary.high)}`
    return `<tr data-target="${kind}"><td>${escapeText(target.figure)}</td><td class="number">${target.goal}</td><td class="number">${value}</td><td class="number">${spread}</td><td class="${kind}">${verdict}</td></tr>`
  })
  return `<table><tr><th>figure</th><th>target</th><th>median</th><th>rounds</th><th></th></tr>${rows.join('')}</table>`
}

function chainTable(results: Results): string {
  const rows = Object.values(results.chains).map(({ title, version, protocol = 'no TLS', cipher = '' }) =>
    [title, version, protocol, cipher].map(cell => `<td>${escapeText(cell)}</td>`).join(''),
  )
  const left = Object.entries(results.leftOut).map(
    ([name, why]) => `<td>${name}</td><td>left out: ${escapeText(why)}</td><td></td><td></td>`,
  )
  return `<table><tr><th>chain</th><th>version</th><th>negotiated</th><th></th></tr>${[...rows, ...left].map(row => `<tr>${row}</tr>`).join('')}</table>`
}
