// What a sidecar can be configured by: a file, or a Consul agent. Each mode checks its options and names its source.
import { Option } from 'commander'
import { type Overrides, type ProcessSettings, processSettings } from '../config/config.ts'
import { isReadableByOthers } from '../config/identity-files.ts'
import { RegistrationReader } from '../config/registration.ts'
import { ConsulClient } from '../consul/client.ts'
import { requireAvailable } from '../data-plane/open.ts'
import { SidespliceError } from '../errors.ts'
import { uselessRules } from '../snapshot/from-config.ts'
import { type AgentValues, clientOptions } from './agent-options.ts'
import {
  type AuthorizationValues,
  authorizationOption,
  overRegistration,
  refuseWithFile,
} from './authorization-flag.ts'
import { fileSource } from './file-source.ts'
import { load } from './load.ts'
import type { ProcessLog } from './logger.ts'
import { meshSource } from './mesh-source.ts'
import type { StateSource } from './source.ts'
import { parseWait } from './wait.ts'

export interface ProxyValues extends AgentValues, AuthorizationValues {
  readonly config?: string
  readonly check?: boolean
  readonly sidecarFor?: string
  readonly proxyId?: string
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
  const proxyId = values.proxyId ?? env.CONNECT_PROXY_ID ?? env.CONSUL_PROXY_ID
  const sidecarFor = values.sidecarFor ?? env.CONNECT_SIDECAR_FOR
  const prepared = await prepareMode()
  requireAvailable(prepared.settings.dataPlane)
  if (values.pprofAddr === undefined) return prepared
  const ignored = {
    fields: { flag: '--pprof-addr' },
    message: 'this flag of the built-in proxy has no meaning here and is ignored',
  }
  return { ...prepared, warnings: [...prepared.warnings, ignored] }

  function prepareMode(): Promise<Prepared> {
    if (values.config !== undefined) return prepareFile(values.config, values, overrides)
    if (proxyId) return prepareMesh({ proxyId }, { values, overrides, env })
    if (sidecarFor) return prepareMesh({ sidecarFor }, { values, overrides, env })
    const message = 'one of --config <file>, --sidecar-for <id> and --proxy-id <id> is needed'
    throw new SidespliceError(message, { source: 'cli', code: 'usage' })
  }
}

async function prepareFile(file: string, values: ProxyValues, overrides: Overrides): Promise<Prepared> {
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

async function prepareMesh(
  wanted: { readonly sidecarFor: string } | { readonly proxyId: string },
  {
    values,
    overrides,
    env,
  }: { readonly values: ProxyValues; readonly overrides: Overrides; readonly env: NodeJS.ProcessEnv },
): Promise<Prepared> {
  const settings = processSettings(overrides)
  const flags = overRegistration(values, overrides)
  const client = clientOptions(values, env)
  const waitMs = parseWait(values.wait ?? '60s')
  const agent = client.address.socketPath ?? client.address.origin
  return {
    settings,
    summary: `options are good; agent ${agent}`,
    warnings: [],
    source: log =>
      meshSource({
        client: new ConsulClient(client),
        agent,
        wanted,
        waitMs,
        settings,
        reader: new RegistrationReader(flags, message => log.warn({}, message)),
        log,
      }),
  }
}
