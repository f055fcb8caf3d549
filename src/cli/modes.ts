// What a sidecar can be configured by: a file, a registration, or flags. Each mode checks its options and names its source.
import { Option } from 'commander'
import type { Overrides, ProcessSettings } from '../config/config.ts'
import { isReadableByOthers } from '../config/identity-files.ts'
import { requireKeyExchange } from '../data-plane/key-exchange.ts'
import { requireAvailable } from '../data-plane/open.ts'
import { uselessRules } from '../snapshot/from-config.ts'
import type { AgentValues } from './agent-options.ts'
import { type AuthorizationValues, authorizationOption, refuseWithFile } from './authorization-flag.ts'
import { chooseMode, type ModeValues } from './choose-mode.ts'
import { fileSource } from './file-source.ts'
import { type FlagValues, flagOptions } from './flag-mode.ts'
import { load } from './load.ts'
import type { ProcessLog } from './logger.ts'
import type { StateSource } from './source.ts'

export interface ProxyValues extends AgentValues, AuthorizationValues, ModeValues, FlagValues {
  readonly check?: boolean
  readonly wait?: string
  readonly pprofAddr?: string
}

export interface Prepared {
  readonly settings: ProcessSettings
  /** What `--check` says. */
  readonly summary: string
  readonly warnings: readonly { readonly fields: object; readonly message: string }[]
  readonly source: (log: ProcessLog) => StateSource
}

export function modeOptions(): readonly Option[] {
  return [
    new Option('--config <file>', 'JSON configuration; schema/sidesplice.schema.json describes it'),
    new Option('--check', 'check the configuration, with its certificates, say what is wrong, and exit'),
    new Option(
      '--sidecar-for <id>',
      'ID of the service instance whose registered sidecar this is [CONNECT_SIDECAR_FOR]',
    ),
    new Option('--proxy-id <id>', 'ID of the registered proxy that this is [CONNECT_PROXY_ID]'),
    ...flagOptions(),
    new Option('--wait <time>', 'how long to wait for the registration: 60s, 5m, 0 or forever (default 60s)'),
    authorizationOption(),
    new Option('--pprof-addr <address>', "of Consul's proxy; accepted and ignored").hideHelp(),
  ]
}

/** @throws ConfigError, SidespliceError `usage` and what is wrong with the agent's options */
export async function prepare(
  values: ProxyValues,
  overrides: Overrides,
  env: NodeJS.ProcessEnv,
): Promise<Prepared> {
  const { mode, passedOver } = chooseMode(values, env)
  const prepared = await prepareMode()
  requireAvailable(prepared.settings.dataPlane, prepared.settings)
  requireKeyExchange(prepared.settings.keyExchange)
  const ignored = [
    ...passedOver.map(flag => [flag, 'another way to be configured goes before this one, which is ignored']),
    ...(values.pprofAddr === undefined
      ? []
      : [['--pprof-addr', 'this flag of the built-in proxy has no meaning here and is ignored']]),
  ].map(([flag = '', message = '']) => ({ fields: { flag }, message }))
  return { ...prepared, warnings: [...prepared.warnings, ...ignored] }

  async function prepareMode(): Promise<Prepared> {
    const given = { values, overrides, env }
    if (mode.kind === 'file') return prepareFile(mode.file, given)
    // The agent's client is a third of what there is to load: who is configured by a file goes without.
    const { prepareFlags, prepareRegistered } = await import('./mesh-modes.ts')
    return mode.kind === 'flags' ? prepareFlags(mode.service, given) : prepareRegistered(mode.wanted, given)
  }
}

export interface Given {
  readonly values: ProxyValues
  readonly overrides: Overrides
  readonly env: NodeJS.ProcessEnv
}

async function prepareFile(file: string, { values, overrides }: Given): Promise<Prepared> {
  refuseWithFile(values)
  const loaded = await load(file, overrides)
  const { config, desired } = loaded
  const { keyFile } = config.identityFiles
  const exposed = await isReadableByOthers(keyFile)
  return {
    settings: config.process,
    summary: [
      `${file}: good; ${desired.identity.leaf.id.uri}, ${config.upstreams.length} upstreams`,
      ...uselessRules(desired).map(rule => `warning: another trust domain than ours, never matches: ${rule}`),
    ].join('\n'),
    warnings: exposed
      ? [{ fields: { file: keyFile }, message: 'the private key can be read by every user of this machine' }]
      : [],
    source: log => fileSource({ file, overrides, loaded, log }),
  }
}
