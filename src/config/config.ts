// The configuration of one sidecar as typed values: the file under the flags over it, checked once, every problem reported.
import { dirname, resolve } from 'node:path'
import { type Address, parseAddress, parseLocalAddress, socketAddress } from '../address.ts'
import {
  parseSpiffeId,
  parseSpiffePattern,
  type SpiffeId,
  type SpiffePattern,
} from '../identity/spiffe-id.ts'
import { parseBytes } from './bytes.ts'
import type { ConfigFile, UpstreamEntry } from './config-file.ts'
import { crossChecks, type Unchecked } from './cross-checks.ts'
import { ConfigError, type PlaceOf, show } from './problem.ts'
import { checkSchema } from './schema.ts'

export type KeyExchange = 'x25519' | 'x25519mlkem768'
export type KernelTlsChoice = 'auto' | 'on' | 'off'
export type AesChoice = 'auto' | 'openssl'
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error'
export type AccessLog = 'all' | 'errors' | 'off'

/** What belongs to the process. */
export interface ProcessSettings {
  readonly drainMs: number
  readonly drainDelayMs: number
  readonly dataPlane: 'auto' | 'native' | 'javascript'
  /** Undefined: as many as the process may use CPUs. */
  readonly workers: number | undefined
  readonly keyExchange: KeyExchange
  readonly resumption: boolean
  readonly ktls: KernelTlsChoice
  readonly aes: AesChoice
  /** Undefined: by the memory that the process may use. */
  readonly bufferMemory: number | undefined
  readonly logLevel: LogLevel
  readonly logJson: boolean
  readonly accessLog: AccessLog
  readonly admin: Address | undefined
  readonly metrics: Address | undefined
  readonly consulMetrics: boolean
}

export interface Config {
  readonly service: string
  readonly identityFiles: { readonly certFile: string; readonly keyFile: string; readonly caFile: string }
  readonly inbound: InboundConfig | undefined
  readonly upstreams: readonly UpstreamConfig[]
  readonly process: ProcessSettings
}

export interface InboundConfig {
  readonly listen: Address
  readonly localService: Address
  readonly allow: readonly SpiffePattern[]
  readonly handshakeTimeoutMs: number
  readonly localConnectTimeoutMs: number
  readonly halfCloseTimeoutMs: number
  readonly idleTimeoutMs: number
}

export interface UpstreamConfig {
  readonly name: string
  readonly bind: Address
  /** Of a unix socket, where it is not the usual one. */
  readonly socketMode?: number
  readonly endpoints: readonly Address[]
  readonly expect: readonly SpiffeId[]
  readonly connectTimeoutMs: number
  readonly halfCloseTimeoutMs: number
  readonly idleTimeoutMs: number
}

/** A setting given beside the file: what it is worth, and how errors name where it came from. */
export type Overrides = ReadonlyMap<string, { readonly value: unknown; readonly where: string }>

export interface ConfigSource {
  /** As the user named it; paths in the file are relative to its folder. */
  readonly file: string
  readonly text: string
  readonly overrides: Overrides
}

/**
 * Parses and checks a configuration file. Certificates are not read here.
 * @throws ConfigError with every problem found
 */
export function parseConfig({ file, text, overrides }: ConfigSource): Config {
  const value = parseJson(file, text)
  const placeOf: PlaceOf = key => {
    const override = overrides.get(key)
    // A flag or a variable is its own name; only in a file something needs a key to be found.
    return override !== undefined ? { where: override.where } : { where: file, ...(key !== '' && { key }) }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError([{ where: file, got: show(value), expected: 'a JSON object' }])
  }
  const merged = {
    ...value,
    ...Object.fromEntries([...overrides].map(([key, override]) => [key, override.value])),
  }
  const normal = withNumbers(merged) as Unchecked
  const problems = [...checkSchema(normal, placeOf), ...crossChecks(normal, placeOf)]
  if (problems.length > 0) throw new ConfigError(problems)
  return typed(normal as unknown as ConfigFile, dirname(file))
}

/**
 * What belongs to the process where there is no file: flags and variables over the defaults.
 * @throws ConfigError
 */
export function processSettings(overrides: Overrides): ProcessSettings {
  const none = { service: '-', identity: { cert_file: '-', key_file: '-', ca_file: '-' } }
  return parseConfig({ file: 'the command line', text: JSON.stringify(none), overrides }).process
}

/** The files that a configuration names, also where the rest of it is wrong: so that their problems are told with it. */
export function identityFilesIn({ file, text }: ConfigSource): Config['identityFiles'] | undefined {
  let identity: Partial<ConfigFile['identity']> | undefined
  try {
    identity = (JSON.parse(text) as Partial<ConfigFile> | null)?.identity
  } catch {
    return undefined
  }
  const { cert_file, key_file, ca_file } = identity ?? {}
  const named = [cert_file, key_file, ca_file].every(name => typeof name === 'string' && name !== '')
  return named ? resolved(identity as ConfigFile['identity'], dirname(file)) : undefined
}

function resolved(identity: ConfigFile['identity'], folder: string): Config['identityFiles'] {
  return {
    certFile: resolve(folder, identity.cert_file),
    keyFile: resolve(folder, identity.key_file),
    caFile: resolve(folder, identity.ca_file),
  }
}

function typed(file: ConfigFile, folder: string): Config {
  const { identity, inbound } = file
  return Object.freeze({
    service: file.service,
    identityFiles: resolved(identity, folder),
    inbound: inbound && {
      listen: address(inbound.listen),
      localService: address(inbound.local_service_address, parseLocalAddress),
      allow: inbound.allow.map(parseSpiffePattern),
      handshakeTimeoutMs: file.handshake_timeout_ms,
      localConnectTimeoutMs: file.local_connect_timeout_ms,
      halfCloseTimeoutMs: file.half_close_timeout_ms,
      idleTimeoutMs: file.idle_timeout_ms,
    },
    upstreams: file.upstreams.map(entry => ({
      name: entry.destination_name,
      ...bindOf(entry),
      endpoints: entry.endpoints.map(text => address(text)),
      expect: entry.expect.map(parseSpiffeId),
      connectTimeoutMs: entry.connect_timeout_ms ?? file.connect_timeout_ms,
      halfCloseTimeoutMs: entry.half_close_timeout_ms ?? file.half_close_timeout_ms,
      idleTimeoutMs: entry.idle_timeout_ms ?? file.idle_timeout_ms,
    })),
    process: {
      drainMs: file.drain * 1000,
      drainDelayMs: file.drain_delay * 1000,
      dataPlane: file.data_plane,
      workers: file.workers,
      keyExchange: file.key_exchange,
      resumption: file.resumption === 'on',
      ktls: file.ktls,
      aes: file.aes,
      bufferMemory: file.buffer_memory === undefined ? undefined : parseBytes(String(file.buffer_memory)),
      logLevel: file.log_level,
      logJson: file.log_json,
      accessLog: file.access_log,
      admin: file.admin === undefined ? undefined : address(file.admin),
      metrics: file.metrics === undefined ? undefined : address(file.metrics),
      consulMetrics: file.consul_metrics,
    },
  })
}

function bindOf(entry: UpstreamEntry): Pick<UpstreamConfig, 'bind' | 'socketMode'> {
  const { local_bind_socket_path: path, local_bind_socket_mode: mode, local_bind_port: port = 0 } = entry
  if (path === undefined) return { bind: { host: entry.local_bind_address, port } }
  return {
    bind: socketAddress(path),
    ...(mode !== undefined && { socketMode: Number.parseInt(mode, 8) }),
  }
}

function address(text: string, parse = parseAddress): Address {
  const parsed = parse(text)
  if (parsed === undefined) throw new Error(`the schema let ${show(text)} pass as an address`)
  return parsed
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new ConfigError([
      { where: file, got: `text that is not JSON (${message})`, expected: 'a JSON object' },
    ])
  }
}

/** Consul's registrations hold numbers as strings; so may the file. */
function withNumbers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withNumbers)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const numeric = typeof inner === 'string' && isNumber(key) && /^[0-9]+(\.[0-9]+)?$/.test(inner)
      return [key, numeric ? Number(inner) : withNumbers(inner)]
    }),
  )
}

function isNumber(key: string): boolean {
  return key.endsWith('_ms') || ['drain', 'drain_delay', 'workers'].includes(key)
}
