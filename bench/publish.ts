// Recorded results, put where people read them: the tables of README.md and docs/performance.md are written from the JSON, never by
// hand, between marks that this file knows.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { addedByHop } from './figures.ts'
import type { Growth, GrowthResults } from './growth.ts'
import { judge } from './judge.ts'
import { measured, type Results, type Round } from './results.ts'
import { summarize } from './statistics.ts'
import { short } from './terminal.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** What is recorded. */
export interface Recorded {
  readonly results: Results
  readonly growth: GrowthResults
  readonly agent: GrowthResults
}

export interface Place {
  readonly file: string
  /** Its name in the marks. */
  readonly section: string
  readonly write: (recorded: Recorded) => string
}

export const places: readonly Place[] = [
  {
    file: 'README.md',
    section: 'chains',
    write: ({ results }) => `${chainMarkdown(results)}\n\n${sourceMarkdown(results, roundsOf(results))}`,
  },
  {
    file: 'docs/performance.md',
    section: 'targets',
    write: ({ results }) => `${targetMarkdown(results)}\n\n${sourceMarkdown(results, roundsOf(results))}`,
  },
  {
    file: 'docs/performance.md',
    section: 'growth',
    write: ({ growth }) => `${growthMarkdown(growth.growth)}\n\n${sourceMarkdown(growth, '')}`,
  },
  {
    file: 'docs/performance.md',
    section: 'agent',
    write: ({ agent }) => `${growthMarkdown(agent.growth)}\n\n${sourceMarkdown(agent, '')}`,
  },
]

export function publish(recorded: Recorded): void {
  for (const { file, section, write } of places) {
    const path = `${root}${file}`
    writeFileSync(path, withSection(readFileSync(path, 'utf8'), section, write(recorded)))
  }
}

/** @throws Error where the marks are not there */
export function withSection(text: string, section: string, content: string): string {
  const [begin, end] = [
    `<!-- bench ${section}: npm run bench -- --publish writes it -->`,
    `<!-- /bench ${section} -->`,
  ]
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Error(`there is no place for the figures of ${section}`)
  return `${text.slice(0, from)}${begin}\n\n${content}\n\n${text.slice(to)}`
}

interface Column {
  readonly title: string
  readonly of: (round: Round, chain: string) => number | undefined
}

const columns: readonly Column[] = [
  { title: 'one stream up, Gbit/s', of: (round, chain) => measured(round, chain, 'bulk-up-1', 'gbits') },
  { title: 'down', of: (round, chain) => measured(round, chain, 'bulk-down-1', 'gbits') },
  {
    title: 'CPU-s a GB, both hops',
    of: (round, chain) => ofHops(chain, measured(round, chain, 'bulk-up-1', 'cpu')),
  },
  {
    title: 'added to a round trip, a hop, us',
    of: (round, chain) => ofHops(chain, addedByHop(round, chain, 'rtt-64-1', 'p50')),
  },
  {
    title: 'new connections/s',
    of: (round, chain) => measured(round, chain, 'connect', 'connectionsASecond'),
  },
  { title: 'bytes an idle connection', of: (round, chain) => measured(round, chain, 'idle', 'bytesEach') },
]

/** Where there is no hop, nothing of one is shown. */
function ofHops(chain: string, value: number | undefined): number | undefined {
  return chain === 'direct' ? undefined : value
}

function chainMarkdown(results: Results): string {
  const shown = columns.filter(({ of }) =>
    results.rounds.some(round => Object.keys(results.chains).some(chain => of(round, chain) !== undefined)),
  )
  const rows = Object.entries(results.chains).map(([chain, { title }]) => {
    const cells = shown.map(({ of }) => summarize(results.rounds.map(round => of(round, chain))))
    return [title, ...cells.map(one => (one === undefined ? '' : short(one.median)))]
  })
  return table(['', ...shown.map(({ title }) => title)], rows)
}

function targetMarkdown(results: Results): string {
  const rows = judge(results).map(({ target, measured: summary, met }) => {
    const verdict = met === undefined ? 'not measured' : met ? 'met' : '**missed**'
    if (summary === undefined) return [target.figure, target.goal, '', '', verdict]
    const spread = `${short(summary.low)} to ${short(summary.high)}`
    return [target.figure, target.goal, `${short(summary.median)}${target.unit}`, spread, verdict]
  })
  return table(['figure', 'target', 'median', 'rounds', ''], rows)
}

function growthMarkdown(growths: readonly Growth[]): string {
  const rows = growths.map(({ of, unit, over, points }) => {
    const cells = points.map(([size, cost]) => `${size.toLocaleString('en')}: ${short(cost)}`)
    return [`${of}, ${unit}`, over, cells.join(', ')]
  })
  return table(['cost', 'over', 'size: cost'], rows, 'left')
}

function roundsOf({ rounds }: Results): string {
  return `medians of ${rounds.length} rounds, `
}

function sourceMarkdown(
  { machine, command, startedAt }: Pick<Results, 'machine' | 'command' | 'startedAt'>,
  rounds: string,
): string {
  const { cpu, cores, kernel, node, openssl, kernelTls } = machine
  const tls = `kernel TLS ${kernelTls ? '' : 'not '}offered`
  return (
    `\`${command}\`, ${startedAt.slice(0, 10)}: ${rounds}${cores} cores of ${cpu}, ` +
    `Linux ${kernel.replace(/-.*/, '')} (${tls}), Node ${node}, OpenSSL ${openssl}.`
  )
}

function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  numbers: 'left' | 'right' = 'right',
): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rule = head.map((_, at) => (at === 0 || numbers === 'left' ? '---' : '---:'))
  return [line(head), line(rule), ...rows.map(line)].join('\n')
}
