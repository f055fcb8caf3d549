// A sidecar that its flags alone describe: they are checked, and put into the shape of the registration that they stand for.
import { Option } from 'commander'
import { type Address, formatAddress } from '../address.ts'
import { type Overrides, type ProcessSettings, processSettings } from '../config/config.ts'
import { crossChecks } from '../config/cross-checks.ts'
import { ConfigError, type Problem, show } from '../config/problem.ts'
import {
  isServiceName,
  parseAddressFlag,
  parseUpstreamFlag,
  type UpstreamFlag,
} from '../config/upstream-flag.ts'
import { type ProxyService, parseProxyService } from '../consul/wire.ts'
import { usage } from './choose-mode.ts'

export interface FlagValues {
  readonly serviceAddr?: string
  readonly listen?: string
  readonly upstream?: readonly string[]
  readonly register?: boolean
  readonly registerId?: string
}

export interface FlaggedProxy {
  readonly settings: ProcessSettings
  readonly proxy: ProxyService
  /** Absent where there is no public listener. */
  readonly listen: Address | undefined
  /** The listeners as operators are told of them. */
  readonly lines: readonly string[]
}

export function flagOptions(): readonly Option[] {
  return [
    new Option('--service <name>', 'run without a registration, for the service of this name'),
    new Option('--listen <[host]:port>', 'with --service: where peers connect to (default: nowhere)'),
    new Option('--service-addr <host:port>', 'with --listen: where the application listens'),
    new Option(
      '--upstream <name[.query]:[address:]port>',
      'with --service: a service, or prepared query, and where the application reaches it; repeatable',
    ).argParser((text, former: readonly string[] | undefined) => [...(former ?? []), text]),
    new Option('--register', 'with --listen: register this proxy with the agent while it runs'),
    new Option('--register-id <suffix>', "with --register: suffix of the registration's ID"),
  ]
}

/** @throws ConfigError with every problem found, SidespliceError `usage` */
export function readFlags(service: string, values: FlagValues, overrides: Overrides): FlaggedProxy {
  requireCompanions(values)
  const problems: Problem[] = isServiceName(service)
    ? []
    : [{ where: '--service', got: show(service), expected: 'a name without spaces and slashes' }]
  const collect = <T>(read: () => T): T | undefined => {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      problems.push(...error.problems)
      return undefined
    }
  }
  const addressOf = (flag: string, text: string | undefined, emptyHost: string) =>
    text === undefined ? undefined : collect(() => parseAddressFlag(flag, text, emptyHost))
  const settings = collect(() => processSettings(overrides))
  const listen = addressOf('--listen', values.listen, '0.0.0.0')
  const localApp = addressOf('--service-addr', values.serviceAddr, '127.0.0.1')
  const upstreams = (values.upstream ?? []).flatMap(text => collect(() => parseUpstreamFlag(text)) ?? [])
  problems.push(...checkTogether({ listen, localApp, upstreams, settings, overrides }))
  if (problems.length > 0 || settings === undefined) throw new ConfigError(problems)
  return {
    settings,
    listen,
    lines: [
      `Public listener: ${listen === undefined || localApp === undefined ? 'disabled' : `${formatAddress(listen)} => ${formatAddress(localApp)}`}`,
      ...upstreams.map(({ type, name, bind }) => `Upstream: ${formatAddress(bind)} => ${type} ${name}`),
    ],
    proxy: asRegistered(service, { listen, localApp, upstreams }),
  }
}

function requireCompanions({ listen, serviceAddr, register, registerId }: FlagValues): void {
  const require = (flag: string, given: unknown, other: string, companion: unknown) => {
    if (given !== undefined && companion === undefined) throw usage(`${flag} needs ${other}`)
  }
  require('--listen', listen, '--service-addr <host:port>', serviceAddr)
  require('--service-addr', serviceAddr, '--listen <[host]:port>', listen)
  require('--register', register, '--listen <[host]:port>', listen)
  require('--register-id', registerId, '--register', register)
}

interface Listeners {
  readonly listen: Address | undefined
  readonly localApp: Address | undefined
  readonly upstreams: readonly UpstreamFlag[]
}

/** As a file with the same addresses would be checked, in the words of the flags. */
function checkTogether({
  listen,
  localApp,
  upstreams,
  settings,
  overrides,
}: Listeners & {
  readonly settings: ProcessSettings | undefined
  readonly overrides: Overrides
}): readonly Problem[] {
  const placeOf = (key: string) => {
    const at = /^upstreams\[(\d+)\]/.exec(key)?.[1]
    if (at !== undefined) return { where: upstreams[Number(at)]?.where ?? '--upstream' }
    const flags: Record<string, string> = {
      'inbound.listen': '--listen',
      'inbound.local_service_address': '--service-addr',
    }
    return { where: flags[key] ?? `--${key}` }
  }
  return crossChecks(
    {
      inbound: {
        listen: listen && formatAddress(listen),
        local_service_address: localApp && formatAddress(localApp),
      },
      upstreams: upstreams.map(({ bind }) => ({ local_bind_address: bind.host, local_bind_port: bind.port })),
      // Those of the process have been checked among themselves.
      admin: settings?.admin && formatAddress(settings.admin),
      metrics: settings?.metrics && formatAddress(settings.metrics),
      unsafe_admin: true,
      unsafe_upstream_bind: overrides.get('unsafe_upstream_bind')?.value,
      unsafe_local_service: overrides.get('unsafe_local_service')?.value,
    },
    placeOf,
  )
}

/** Through the parser of what an agent says: what a registration leaves out means the same here. */
function asRegistered(service: string, { listen, localApp, upstreams }: Listeners): ProxyService {
  return parseProxyService({
    body: {
      Kind: 'connect-proxy',
      ID: `${service}-proxy`,
      ...(listen !== undefined && { Address: listen.host, Port: listen.port }),
      Proxy: {
        DestinationServiceName: service,
        ...(localApp !== undefined && {
          LocalServiceAddress: localApp.host,
          LocalServicePort: localApp.port,
        }),
        Upstreams: upstreams.map(({ type, name, bind }) => ({
          DestinationType: type,
          DestinationName: name,
          LocalBindAddress: bind.host,
          LocalBindPort: bind.port,
        })),
      },
    },
  })
}
