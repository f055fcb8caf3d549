// What stands in the terminal: one line of progress that is overwritten, and the tables.

import { addedByHop } from './figures.ts'
import { judge } from './judge.ts'
import { measured, type Results, type Round } from './results.ts'
import type { Progress } from './run.ts'
import { type Summary, summarize } from './statistics.ts'

const barCells = 24

/** What is written to; a terminal says how large it is. */
export interface Screen {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

/** The table as it fills, and a line of progress below; where there is no terminal, a line for each round. */
export class LiveTable {
  readonly #out: Screen
  readonly #begun = performance.now()
  #round = 0
  /** Lines above the cursor that are ours. */
  #drawn = 0

  constructor(out: Screen) {
    this.#out = out
  }

  show(progress: Progress, results: Results): void {
    const { isTTY, columns = 80, rows = 24 } = this.#out
    if (!isTTY) {
      if (progress.round !== this.#round) this.#out.write(`round ${progress.round}\n`)
      this.#round = progress.round
      return
    }
    const table = chainTable(results).split('\n')
    // One that does not fit would leave its head behind at each turn.
    const lines = [...(table.length + 2 < rows ? table : []), this.#line(progress)]
    this.clear()
    this.#out.write(lines.map(line => `${line.slice(0, columns - 1)}\n`).join(''))
    this.#drawn = lines.length
  }

  clear(): void {
    if (this.#drawn > 0) this.#out.write(`\x1b[${this.#drawn}A\x1b[J`)
    this.#drawn = 0
  }

  #line({ done, of, round, what }: Progress): string {
    const filled = Math.round((done / of) * barCells)
    const bar = '█'.repeat(filled) + '░'.repeat(barCells - filled)
    const spent = (performance.now() - this.#begun) / 1_000
    const left = done === 0 ? '' : `, ${duration((spent / done) * (of - done))} left`
    return `${bar} ${done}/${of}${left}  round ${round}  ${what}`
  }
}

function duration(seconds: number): string {
  return seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`
}

interface Column {
  readonly title: string
  readonly of: (round: Round, chain: string) => number | undefined
}

const columns: readonly Column[] = [
  { title: 'up Gbit/s', of: (round, chain) => measured(round, chain, 'bulk-up-1', 'gbits') },
  { title: 'down', of: (round, chain) => measured(round, chain, 'bulk-down-1', 'gbits') },
  { title: 'CPU s/GB', of: (round, chain) => measured(round, chain, 'bulk-up-1', 'cpu') },
  { title: 'p50 us/hop', of: (round, chain) => addedByHop(round, chain, 'rtt-64-1', 'p50') },
  { title: '16: p99', of: (round, chain) => addedByHop(round, chain, 'rtt-64-16', 'p99') },
  { title: 'bulk: p99', of: (round, chain) => measured(round, chain, 'rtt-beside-bulk', 'p99') },
  { title: 'conn/s', of: (round, chain) => measured(round, chain, 'connect', 'connectionsASecond') },
  { title: 'ms CPU', of: (round, chain) => measured(round, chain, 'connect', 'cpuMs') },
  { title: 'storm p99.9', of: (round, chain) => measured(round, chain, 'storm', 'p999') },
  { title: 'B/idle', of: (round, chain) => measured(round, chain, 'idle', 'bytesEach') },
  { title: 'ready ms', of: (round, chain) => measured(round, chain, 'start', 'a') },
]

/** A row a chain: medians, the spread behind them on a line of its own. */
export function chainTable(results: Results): string {
  const shown = columns.filter(({ of }) =>
    results.rounds.some(round => Object.keys(results.chains).some(chain => of(round, chain) !== undefined)),
  )
  const rows = Object.entries(results.chains).flatMap(([chain, { title }]) => {
    const cells = shown.map(({ of }) => summarize(results.rounds.map(round => of(round, chain))))
    const spread = (one: Summary | undefined) =>
      one === undefined ? '' : `${short(one.low)}-${short(one.high)}`
    return [
      [title, ...cells.map(one => (one === undefined ? '-' : short(one.median)))],
      ['', ...cells.map(spread)],
    ]
  })
  return layOut([['', ...shown.map(({ title }) => title)], ...rows])
}

export function targetTable(results: Results): string {
  const rows = judge(results).map(({ target, measured, met }) => {
    const verdict = met === undefined ? 'not measured' : met ? 'met' : 'MISSED'
    if (measured === undefined) return [target.figure, target.goal, '', '', verdict]
    const { median, low, high } = measured
    const spread = `${short(low)} to ${short(high)}`
    return [target.figure, target.goal, `${short(median)}${target.unit}`, spread, verdict]
  })
  return layOut([['figure', 'target', 'median', 'rounds', ''], ...rows])
}

/** Three digits are what is known. */
export function short(value: number): string {
  const size = Math.abs(value)
  if (size >= 1_000) return Math.round(value).toLocaleString('en')
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2)
}

function layOut(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map(row => row[column]?.length ?? 0))) ?? []
  return rows
    .map(row =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
