// How the page looks: light and dark, a colour for each chain that both bear.
const colours: Readonly<Record<string, string>> = {
  'sidesplice-native': '#0b7a5c/#34d3a6',
  'sidesplice-javascript': '#6aa893/#7fae9f',
  nginx: '#3b6fd4/#7ba4f5',
  haproxy: '#c2571a/#f0915a',
  consul: '#b5307c/#ec7bb7',
  ghostunnel: '#7a4fc9/#b494f2',
  envoy: '#9a7b00/#d9bb3c',
  'haproxy-plain': '#a08a7c/#b9a598',
  floor: '#7d838c/#9aa1ab',
  direct: '#aeb3ba/#6d737c',
}

const byChain = (which: 0 | 1) =>
  Object.entries(colours)
    .map(([chain, pair]) => `.${chain} { --own: ${pair.split('/')[which]} }`)
    .join('\n')

export const style = `
:root { color-scheme: light dark; --text: #1d2329; --soft: #5c6670; --line: #e2e6ea; --back: #ffffff; --card: #f7f8fa; --good: #0b7a5c; --bad: #b3261e }
${byChain(0)}
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e9ed; --soft: #9aa4af; --line: #323941; --back: #14181c; --card: #1b2025; --good: #34d3a6; --bad: #ff8a80 }
  ${byChain(1)}
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 1400px; padding: 32px 24px; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif }
h1 { font-size: 26px; margin: 0 } h2 { font-size: 19px; margin: 36px 0 12px } h3 { font-size: 15px; margin: 0 0 2px }
p { margin: 4px 0; color: var(--soft); max-width: 90ch } code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace }
.grid-of-charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 520px), 1fr)); gap: 16px }
figure { margin: 0; padding: 16px; background: var(--card); border: 1px solid var(--line); border-radius: 10px }
figcaption small { color: var(--soft) }
svg { width: 100%; height: auto; display: block; font: 12.5px system-ui, "DejaVu Sans", sans-serif }
svg text { fill: var(--text) } svg .tick { fill: var(--soft); font-size: 11px } svg .value { font-variant-numeric: tabular-nums; font-weight: 600 }
.grid { stroke: var(--line); stroke-width: 1 }
.bar { fill: var(--own) } .bar.second { fill-opacity: .55 } .spread { stroke: var(--text); stroke-width: 1.2; fill: none; opacity: .65 }
.line { fill: none; stroke: var(--own); stroke-width: 1.8 } .sidesplice-native .line { stroke-width: 3.2 } .sidesplice-native .label { font-weight: 700 }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 8px 0 0; padding: 0; font-size: 12.5px }
.legend i { display: inline-block; width: 18px; height: 4px; border-radius: 2px; margin-right: 6px; vertical-align: middle; background: var(--own) }
table { border-collapse: collapse; width: 100%; font-size: 14px } th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid var(--line) }
td.number { text-align: right; font-variant-numeric: tabular-nums } .met { color: var(--good); font-weight: 600 } .missed { color: var(--bad); font-weight: 600 } .unknown { color: var(--soft) }
.scroll { overflow-x: auto }
`
