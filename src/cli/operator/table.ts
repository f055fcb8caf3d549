// Rows of text under headings, each column as wide as its widest.
import { printable } from '../logger.ts'

export interface Column<T> {
  readonly heading: string
  readonly of: (row: T) => string | number
}

export function table<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  if (rows.length === 0) return 'none'
  const cells = [
    columns.map(({ heading }) => heading),
    ...rows.map(row => columns.map(({ of }) => printable(String(of(row))) || '-')),
  ]
  const widths = columns.map((_, at) => Math.max(...cells.map(row => row[at]?.length ?? 0)))
  return cells
    .map(row =>
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
