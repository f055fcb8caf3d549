// What a sidecar can be configured by: a file, a registration, or flags. Each mode checks its options and names its source.
import { Option } from 'commander'
import { type Overrides, type ProcessSettings, processSettings } from '../config/config.ts'
import { isReadableByOthers } from '../config/identity-files.ts'
import { RegistrationReader } from '../config/registration.ts'
import { ConsulClient } from '../consul/client.ts'
import { requireAvailable } from '../data-plane/open.ts'
import { uselessRules } from '../snapshot/from-config.ts'
import { type AgentValues, clientOptions } from './agent-options.ts'
import {
  type AuthorizationValues,
  authorizationOption,
  overRegistration,
  refuseWithFile,
} from './authorization-flag.ts'
import { chooseMode, type ModeValues } from './choose-mode.ts'
import { fileSource } from './file-source.ts'
import { type FlagValues, flagOptions, readFlags } from './flag-mode.ts'
import { load } from './load.ts'
import type { ProcessLog } from './logger.ts'
import { meshSource, type ProxyOptions } from './mesh-source.ts'
import type { StateSource } from './source.ts'
import { parseWait } from './wait.ts'

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
  requireAvailable(prepared.settings.dataPlane)
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
    if (mode.kind === 'flags') return prepareFlags(mode.service, given)
    const proxy = { wanted: mode.wanted, waitMs: parseWait(values.wait ?? '60s') }
    return prepareMesh({ proxy, settings: processSettings(overrides), lines: [] }, given)
  }
}

interface Given {
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

function prepareFlags(service: string, given: Given): Prepared {
  const { values, overrides } = given
  const { settings, proxy, listen, lines } = readFlags(service, values, overrides)
  const suffix = values.registerId || undefined
  const register = { service, ...(suffix !== undefined && { suffix }) }
  const prepared = prepareMesh(
    {
      proxy: {
        fixed: proxy,
        ...(values.register === true && listen !== undefined && { register: { ...register, listen } }),
      },
      settings,
      lines: [`Service: ${service}`, ...lines],
    },
    given,
  )
  if (listen !== undefined || proxy.upstreams.length > 0) return prepared
  const idle = {
    fields: { service },
    message: 'neither --listen nor --upstream: there is nothing to listen for',
  }
  return { ...prepared, warnings: [idle] }
}

function prepareMesh(
  {
    proxy,
    settings,
    lines,
  }: {
    readonly proxy: ProxyOptions
    readonly settings: ProcessSettings
    /** What is known of its listeners before the agent is asked. */
    readonly lines: readonly string[]
  },
  { values, overrides, env }: Given,
): Prepared {
  const flags = overRegistration(values, overrides)
  const client = clientOptions(values, env)
  const agent = client.address.socketPath ?? client.address.origin
  return {
    settings,
    summary: [`options are good; agent ${agent}`, ...lines].join('\n'),
    warnings: [],
    source: log => {
      for (const line of lines) log.info({}, line)
      return meshSource({
        client: new ConsulClient(client),
        agent,
        proxy,
        settings,
        reader: new RegistrationReader(flags, message => log.warn({}, message)),
        log,
      })
    },
  }
}
