// Lines of all chains in one frame: latencies by percentile, memory by connections.
import { short } from '../terminal.ts'
import { decades, element, escapeText, text, ticksTo } from './svg.ts'

export interface Line {
  readonly chain: string
  readonly title: string
  readonly points: readonly (readonly [number, number])[]
}

export interface LineChart {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly lines: readonly Line[]
}

interface Axis {
  readonly at: (value: number) => number
  readonly ticks: readonly { readonly value: number; readonly label: string }[]
}

const width = 640
const height = 300
const left = 64
const right = 30
const top = 12
const bottom = 36
const percentiles = [0, 0.5, 0.9, 0.99, 0.999, 0.9999]

/** Percentiles by the tenths that are left, as HdrHistogram's plots have them; values by powers of ten. */
export function latencyChart(chart: LineChart): string {
  const values = chart.lines
    .flatMap(({ points }) => points.map(([, value]) => value))
    .filter(value => value > 0)
  const rows = decades(Math.min(...values), Math.max(...values))
  const [least, most] = [Math.log10(rows[0] ?? 1), Math.log10(rows.at(-1) ?? 10)]
  const nines = (share: number) => Math.min(-Math.log10(1 - share), 4)
  return frame(chart, {
    x: {
      at: share => left + (nines(share) / 4) * (width - left - right),
      ticks: percentiles.map(value => ({
        value,
        label: value === 0 ? 'min' : `p${Number((value * 100).toFixed(2))}`,
      })),
    },
    y: {
      at: value => height - bottom - ((Math.log10(value) - least) / (most - least)) * (height - top - bottom),
      ticks: rows.map(value => ({ value, label: value >= 1_000 ? `${value / 1_000} ms` : `${value} us` })),
    },
  })
}

export function growthChart(chart: LineChart): string {
  const points = chart.lines.flatMap(line => line.points)
  const columns = [...new Set(points.map(([x]) => x))].toSorted((one, other) => one - other)
  const rows = ticksTo(Math.max(...points.map(([, y]) => y)))
  const [widest, most] = [columns.at(-1) || 1, rows.at(-1) || 1]
  return frame(chart, {
    x: {
      at: value => left + (value / widest) * (width - left - right),
      ticks: columns.map(value => ({ value, label: value.toLocaleString('en') })),
    },
    y: {
      at: value => height - bottom - (value / most) * (height - top - bottom),
      ticks: rows.map(value => ({ value, label: short(value).replace(/\.0+$/, '') })),
    },
  })
}

function frame(
  { name, title, unit, lines }: LineChart,
  { x, y }: { readonly x: Axis; readonly y: Axis },
): string {
  const across = y.ticks.map(({ value, label }) =>
    [
      element('line', { x1: left, x2: width - right, y1: y.at(value), y2: y.at(value), class: 'grid' }),
      text(left - 8, y.at(value) + 4, label, { class: 'tick', 'text-anchor': 'end' }),
    ].join(''),
  )
  const down = x.ticks.map(({ value, label }) =>
    [
      element('line', { x1: x.at(value), x2: x.at(value), y1: top, y2: height - bottom, class: 'grid' }),
      text(x.at(value), height - bottom + 18, label, { class: 'tick', 'text-anchor': 'middle' }),
    ].join(''),
  )
  const drawn = lines.map(({ chain, title: label, points }) => {
    const shown = points.filter(([, value]) => value > 0)
    const path = shown.map(
      ([px, py], at) => `${at === 0 ? 'M' : 'L'}${x.at(px).toFixed(1)} ${y.at(py).toFixed(1)}`,
    )
    return element(
      'g',
      { class: `chain ${chain}`, 'data-chain': chain, 'data-points': shown.length },
      element('title', {}, escapeText(label)),
      element('path', { d: path.join(''), class: 'line' }),
    )
  })
  const frameSvg = element(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `${title}, ${unit}`, 'data-chart': name },
    ...across,
    ...down,
    ...drawn,
  )
  const legend = lines.map(
    ({ chain, title: label }) => `<li class="chain ${chain}"><i></i>${escapeText(label)}</li>`,
  )
  return `${frameSvg}<ul class="legend">${legend.join('')}</ul>`
}
