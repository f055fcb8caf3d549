// A row of bars, one for each chain: the median, in parts where there are some, with the spread of the rounds over it.
import type { Summary } from '../statistics.ts'
import { short } from '../terminal.ts'
import { element, escapeText, text, ticksTo } from './svg.ts'

export interface Bar {
  readonly chain: string
  readonly title: string
  readonly summary: Summary
  /** Parts of the median, from the left; one where there is none. */
  readonly parts?: readonly number[]
}

export interface BarChart {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly bars: readonly Bar[]
}

const width = 640
const labels = 190
const values = 96
const rowHeight = 28
const barHeight = 16
const top = 8
const axisHeight = 26

export function barChart({ name, title, unit, bars }: BarChart): string {
  const ticks = ticksTo(Math.max(...bars.map(({ summary }) => summary.high)))
  const most = ticks.at(-1) ?? 1
  const x = (value: number) => labels + (value / most) * (width - labels - values)
  const bottom = top + bars.length * rowHeight
  const grid = ticks.map(tick =>
    [
      element('line', { x1: x(tick), x2: x(tick), y1: top, y2: bottom, class: 'grid' }),
      text(x(tick), bottom + 16, short(tick).replace(/\.0+$/, ''), {
        class: 'tick',
        'text-anchor': 'middle',
      }),
    ].join(''),
  )
  const rows = bars.map((bar, at) => row(bar, { y: top + at * rowHeight, x, unit }))
  return element(
    'svg',
    {
      viewBox: `0 0 ${width} ${bottom + axisHeight}`,
      role: 'img',
      'aria-label': `${title}, ${unit}`,
      'data-chart': name,
    },
    ...grid,
    ...rows,
  )
}

function row(
  { chain, title, summary, parts = [summary.median] }: Bar,
  { y, x, unit }: { readonly y: number; readonly x: (value: number) => number; readonly unit: string },
): string {
  const middle = y + rowHeight / 2
  let from = 0
  const drawn = parts.map((part, at) => {
    const bar = element('rect', {
      x: x(from),
      y: middle - barHeight / 2,
      width: Math.max(0.5, x(from + part) - x(from)),
      height: barHeight,
      class: at === 0 ? 'bar' : 'bar second',
    })
    from += part
    return bar
  })
  const { low, high, median } = summary
  const spread = element('path', {
    d: `M${x(low).toFixed(1)} ${middle}H${x(high).toFixed(1)}M${x(low).toFixed(1)} ${middle - 4}v8M${x(high).toFixed(1)} ${middle - 4}v8`,
    class: 'spread',
  })
  return element(
    'g',
    { class: `chain ${chain}`, 'data-chain': chain, 'data-value': String(median) },
    element('title', {}, escapeText(`${title}: ${short(median)} ${unit}, ${short(low)} to ${short(high)}`)),
    text(labels - 10, middle + 4, title, { 'text-anchor': 'end', class: 'label' }),
    ...drawn,
    spread,
    text(x(Math.max(high, median)) + 8, middle + 4, short(median), { class: 'value' }),
  )
}
