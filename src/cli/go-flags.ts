// Go's spelling of flags, as Consul's users have it in their scripts: one dash, and booleans with a value.
import { scalarSettings } from '../config/schema.ts'

const booleans = new Set([
  ...['--register', '--stale', '--check'],
  ...[...scalarSettings()].flatMap(([name, { type }]) =>
    type === 'boolean' ? [`--${name.replaceAll('_', '-')}`] : [],
  ),
])

/** `-sidecar-for web` is `--sidecar-for web`; `-register=false` is its absence. What follows `--` is left alone. */
export function fromGoSpelling(args: readonly string[]): readonly string[] {
  const end = args.indexOf('--')
  const flags = end < 0 ? args : args.slice(0, end)
  const rest = end < 0 ? [] : args.slice(end)
  return [...flags.flatMap(rewrite), ...rest]
}

function rewrite(arg: string): readonly string[] {
  // One letter after one dash is a short option: there is only -h.
  const long = /^-[a-z][a-z0-9-]+(=|$)/.test(arg) ? `-${arg}` : arg
  const [, name = '', value] = /^(--[a-z][a-z0-9-]*)=(.*)$/.exec(long) ?? []
  if (!booleans.has(name)) return [long]
  // strconv.ParseBool's words; any other is left to be refused.
  const word = (value ?? '').toLowerCase()
  if (['1', 't', 'true'].includes(word)) return [name]
  return ['0', 'f', 'false'].includes(word) ? [] : [long]
}
