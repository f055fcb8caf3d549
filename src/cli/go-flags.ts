// Go's spelling of flags, as Consul's users have it in their scripts: one dash, and booleans with a value.
import { scalarSettings } from '../config/schema.ts'

const booleans = new Set([
  ...['--register', '--stale', '--check'],
  ...[...scalarSettings()].flatMap(([name, { type }]) =>
    type === 'boolean' ? [`--${name.replaceAll('_', '-')}`] : [],
  ),
])

/**
 * `-sidecar-for web` is `--sidecar-for web`; `-register=false` is its absence, also behind `-register`, as the last one counts. What follows
 * `--` is left alone.
 */
export function fromGoSpelling(args: readonly string[]): readonly string[] {
  const end = args.indexOf('--')
  const flags = end < 0 ? args : args.slice(0, end)
  const rest = end < 0 ? [] : args.slice(end)
  const rewritten: string[] = []
  for (const flag of flags) {
    const { text, off } = rewrite(flag)
    if (off === undefined) rewritten.push(text)
    else while (rewritten.includes(off)) rewritten.splice(rewritten.indexOf(off), 1)
  }
  return [...rewritten, ...rest]
}

/** `off` is the boolean that it takes back. */
function rewrite(arg: string): { readonly text: string; readonly off?: string } {
  // One letter after one dash is a short option: there is only -h.
  const long = /^-[a-z][a-z0-9-]+(=|$)/.test(arg) ? `-${arg}` : arg
  const [, name = '', value] = /^(--[a-z][a-z0-9-]*)=(.*)$/.exec(long) ?? []
  if (!booleans.has(name)) return { text: long }
  // strconv.ParseBool's words; any other is left to be refused.
  const word = (value ?? '').toLowerCase()
  if (['1', 't', 'true'].includes(word)) return { text: name }
  return ['0', 'f', 'false'].includes(word) ? { text: long, off: name } : { text: long }
}
