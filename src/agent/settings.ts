// What an agent is set to: its files and flags as one typed value, the flags going before.
import { hostname } from 'node:os'
import { type Address, formatAddress, isHost, isLoopback } from '../address.ts'
import { ConfigError, type Problem } from '../config/problem.ts'
import type { Json } from '../consul/shape.ts'
import type { PortRange } from './catalog.ts'
import { parseDuration } from './duration.ts'
import { type HttpsSettings, hostOf, httpsProblems, httpsSettings } from './https.ts'
import { object, textOf } from './proxy-block.ts'
import type { AccessSettings } from './tokens.ts'

export interface AgentSettings {
  readonly http: Address
  readonly https: HttpsSettings | undefined
  readonly node: { readonly name: string; readonly address: string; readonly datacenter: string }
  /** Where state is; undefined keeps all of it in memory. */
  readonly dataDir: string | undefined
  readonly access: AccessSettings
  readonly sidecarPorts: PortRange
  readonly managedPorts: PortRange
  readonly authority: Json
  readonly managed: ManagedProxySettings
  /** Whether `/v1/agent/metrics` is there: a retention time is set. */
  readonly metrics: boolean
  readonly logLevel: LogLevel
  readonly logJson: boolean
}

export interface ManagedProxySettings {
  readonly allowApiRegistration: boolean
  readonly allowRoot: boolean
  readonly command: readonly string[]
  readonly config: Json
}

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** Flags, as far as they are given. */
export interface AgentFlags {
  readonly dev: boolean
  readonly dataDir?: string
  readonly httpPort?: number
  readonly unsafeListen?: boolean
  readonly logLevel?: string
  readonly logJson?: boolean
}

const defaultHttpPort = 8_500
const sidecarPorts = { first: 21_000, last: 21_255 }
const managedPorts = { first: 20_000, last: 20_255 }
// Consul's words for them.
const levelNames: Readonly<Record<string, LogLevel>> = { trace: 'debug', err: 'error' }

/** @throws ConfigError */
export function agentSettings(files: Json, flags: AgentFlags): AgentSettings {
  const ports = object(files.Ports)
  const acl = object(files.Acl)
  const tokens = object(acl.Tokens)
  const connect = object(files.Connect)
  const proxy = object(connect.Proxy)
  const defaults = object(connect.ProxyDefaults)
  const dataDir = flags.dataDir ?? (textOf(files.DataDir) || undefined)
  const host = hostOf(files, 'Http')
  const http = { host, port: flags.httpPort ?? (Number(ports.Http ?? 0) || defaultHttpPort) }
  const https = httpsSettings(files)
  const level = (flags.logLevel ?? textOf(files.LogLevel)).toLowerCase() || 'info'
  const logLevel = levelNames[level] ?? logLevels.find(one => one === level)
  const retention = object(files.Telemetry).PrometheusRetentionTime ?? 0
  const retentionMs = parseDuration(retention)
  const nodeName = textOf(files.NodeName) || hostname()
  const address = textOf(files.BindAddr) || '127.0.0.1'
  const problems: readonly (Problem | false)[] = [
    !isHost(host) && problem('client_addr', host, 'an IP address'),
    !isLoopback(host) &&
      flags.unsafeListen !== true && {
        where: 'client_addr',
        got: formatAddress(http),
        expected:
          'a loopback address, with ports.https for everybody else: whoever is on the way reads tokens and keys. --unsafe-listen allows it all the same',
      },
    http.port < 0 &&
      problem('ports.http', String(http.port), 'a port: managed proxies reach the agent by it'),
    !isHost(address) && problem('bind_addr', address, 'an IP address'),
    logLevel === undefined && problem('log_level', level, `one of ${logLevels.join(', ')}`),
    retentionMs === undefined &&
      problem('telemetry.prometheus_retention_time', String(retention), 'a duration, as 60s'),
    connect.Enabled === false && problem('connect.enabled', 'false', 'true: this agent is there for Connect'),
    !flags.dev &&
      dataDir === undefined &&
      problem('data_dir', 'nothing', 'a folder to keep state in, or --dev'),
    !/^[A-Za-z0-9_.-]{1,128}$/.test(nodeName) &&
      problem('node_name', nodeName, 'letters, digits, ".", "-" and "_"'),
  ]
  const found = [
    ...problems.filter(one => one !== false),
    ...httpsProblems(https, {
      // Where the default is to allow, who has none may do everything.
      tokens: acl.Enabled === true && acl.DefaultPolicy !== 'allow',
      unsafe: flags.unsafeListen === true,
    }),
  ]
  if (found.length > 0) throw new ConfigError(found)
  return {
    ...{ http, https },
    node: { name: nodeName, address, datacenter: (textOf(files.Datacenter) || 'dc1').toLowerCase() },
    dataDir: flags.dev ? flags.dataDir : dataDir,
    access: {
      enabled: acl.Enabled === true,
      // Consul's own default is to allow, which makes tokens of little use: here who wants that says so.
      defaultPolicy: acl.DefaultPolicy === 'allow' ? 'allow' : 'deny',
      managementSecrets: [textOf(tokens.Master), textOf(tokens.InitialManagement)].filter(
        secret => secret !== '',
      ),
    },
    sidecarPorts: rangeOf(ports, ['SidecarMinPort', 'SidecarMaxPort'], sidecarPorts),
    managedPorts: rangeOf(ports, ['ProxyMinPort', 'ProxyMaxPort'], managedPorts),
    authority: object(connect.CaConfig),
    managed: {
      allowApiRegistration: proxy.AllowManagedApiRegistration === true,
      allowRoot: proxy.AllowManagedRoot === true,
      command: (defaults.DaemonCommand ?? defaults.Command ?? []) as readonly string[],
      config: object(defaults.Config),
    },
    metrics: (retentionMs ?? 0) > 0,
    logLevel: logLevel ?? 'info',
    logJson: flags.logJson ?? files.LogJson === true,
  }
}

function rangeOf(ports: Json, [first, last]: readonly [string, string], otherwise: PortRange): PortRange {
  const range = {
    first: Number(ports[first] ?? otherwise.first),
    last: Number(ports[last] ?? otherwise.last),
  }
  if (range.first === 0 || range.first <= range.last) return range
  throw new ConfigError([
    problem('ports', `${range.first} to ${range.last}`, 'a range whose end is not before its beginning'),
  ])
}

function problem(key: string, got: string, expected: string): Problem {
  return { where: 'agent', key, got: JSON.stringify(got), expected }
}
