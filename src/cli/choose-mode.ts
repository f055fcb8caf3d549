// Which mode the options ask for, and which of them mean nothing there.
import { SidespliceError } from '../errors.ts'
import { agentOptions } from './agent-options.ts'

export type Mode =
  | { readonly kind: 'file'; readonly file: string }
  | {
      readonly kind: 'registered'
      readonly wanted: { readonly sidecarFor: string } | { readonly proxyId: string }
    }
  | { readonly kind: 'flags'; readonly service: string }

export interface ModeValues {
  readonly config?: string
  readonly proxyId?: string
  readonly sidecarFor?: string
  readonly service?: string
}

export interface ChosenMode {
  readonly mode: Mode
  /** Flags that would have chosen another one, had a stronger one not been there. */
  readonly passedOver: readonly string[]
}

interface Choice {
  /** The flag or the variable. */
  readonly by: string
  readonly mode: Mode
}

const agentFlags = agentOptions().map(option => option.attributeName())

// What an option that not every mode obeys has an effect in.
const effects: readonly (readonly [option: string, kind: Mode['kind'], flags: string])[] = [
  ['wait', 'registered', '--proxy-id or --sidecar-for'],
  ...['listen', 'serviceAddr', 'upstream', 'register', 'registerId'].map(
    name => [name, 'flags', '--service'] as const,
  ),
]

/**
 * --config is a mode of its own; of the others Consul's proxy takes the first that there is, in this order, a variable as good
 * as its flag.
 * @throws SidespliceError `usage`
 */
export function chooseMode(values: ModeValues, env: NodeJS.ProcessEnv): ChosenMode {
  const choices = meshChoices(values, env)
  const [first] = choices
  if (values.config !== undefined) {
    if (first !== undefined)
      throw usage(`--config and ${first.by} can not be mixed: the one is a file, the other asks an agent`)
    const chosen: Choice = { by: '--config', mode: { kind: 'file', file: values.config } }
    requireEffect(chosen, values)
    return { mode: chosen.mode, passedOver: [] }
  }
  if (first === undefined)
    throw usage('one of --config <file>, --proxy-id <id>, --sidecar-for <id> and --service <name> is needed')
  requireEffect(first, values)
  return { mode: first.mode, passedOver: choices.slice(1).map(({ by }) => by) }
}

/** The strongest first. */
function meshChoices(values: ModeValues, env: NodeJS.ProcessEnv): readonly Choice[] {
  const choices: Choice[] = []
  const take = (
    candidates: readonly (readonly [string, string | undefined])[],
    mode: (id: string) => Mode,
  ) => {
    const [by, id] = candidates.find(([, value]) => value !== undefined) ?? []
    if (by !== undefined && id) choices.push({ by, mode: mode(id) })
  }
  take(
    [
      ['--proxy-id', values.proxyId],
      ['CONNECT_PROXY_ID', env.CONNECT_PROXY_ID],
      ['CONSUL_PROXY_ID', env.CONSUL_PROXY_ID],
    ],
    proxyId => ({ kind: 'registered', wanted: { proxyId } }),
  )
  take(
    [
      ['--sidecar-for', values.sidecarFor],
      ['CONNECT_SIDECAR_FOR', env.CONNECT_SIDECAR_FOR],
    ],
    sidecarFor => ({ kind: 'registered', wanted: { sidecarFor } }),
  )
  take([['--service', values.service]], service => ({ kind: 'flags', service }))
  return choices
}

function requireEffect({ by, mode }: Choice, values: object): void {
  const given = new Set(
    Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [name])),
  )
  for (const [name, kind, flags] of effects) {
    if (given.has(name) && kind !== mode.kind)
      throw usage(`${flagOf(name)} has no effect with ${by}: it belongs to ${flags}`)
  }
  const useless = mode.kind === 'file' ? agentFlags.find(name => given.has(name)) : undefined
  if (useless !== undefined) throw usage(`${flagOf(useless)} has no effect with ${by}, which asks no agent`)
}

function flagOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}

export function usage(message: string): SidespliceError {
  return new SidespliceError(message, { source: 'cli', code: 'usage' })
}
