// What a Consul registration may set: the keys of `proxy.config` and of an upstream's `config` that are ours. Others are
// Consul's or Envoy's and pass by.
import { type Address, parseAddress } from '../address.ts'
import type { Overrides } from './config.ts'
import { Notices } from './notices.ts'
import { show } from './problem.ts'
import { scalarSettings } from './schema.ts'

export interface RegistrationSettings {
  readonly handshakeTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly localConnectTimeoutMs: number
  readonly halfCloseTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly endDeniedSessions: boolean
  readonly drainMs: number
  readonly drainDelayMs: number
  readonly authorization: AuthorizedBy
  readonly bindAddress: string | undefined
  readonly bindPort: number | undefined
}

/** Evaluated here, or by the agent for each connection. */
export const authorizedBy = ['intentions', 'agent'] as const
export type AuthorizedBy = (typeof authorizedBy)[number]

type Values = Readonly<Record<string, unknown>>

interface Key {
  readonly takes: string
  readonly read: (value: unknown) => unknown
}

const longestMs = 2_147_483_647
const duration = (least: number): Key => ({
  takes: `a number of at least ${least}, or a string that holds one`,
  read: value => {
    const number = typeof value === 'string' && /^[0-9]+(\.[0-9]+)?$/.test(value) ? Number(value) : value
    return typeof number === 'number' && number >= least && number <= longestMs ? number : undefined
  },
})
const port: Key = {
  takes: 'a port, or a string that holds one',
  read: value => {
    const number = typeof value === 'string' && /^[0-9]+$/.test(value) ? Number(value) : value
    return typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= 65_535
      ? number
      : undefined
  },
}
const boolean: Key = {
  takes: 'true or false',
  read: value => (typeof value === 'boolean' ? value : undefined),
}
const text: Key = { takes: 'text', read: value => (typeof value === 'string' ? value : undefined) }
const choice = (choices: readonly string[]): Key => ({
  takes: `one of ${choices.join(', ')}`,
  read: value => (typeof value === 'string' && choices.includes(value) ? value : undefined),
})

const keys: Readonly<Record<string, Key>> = {
  handshake_timeout_ms: duration(1),
  connect_timeout_ms: duration(1),
  local_connect_timeout_ms: duration(1),
  half_close_timeout_ms: duration(1),
  idle_timeout_ms: duration(0),
  end_denied_sessions: boolean,
  drain: duration(0),
  drain_delay: duration(0),
  authorization: choice(authorizedBy),
  bind_address: text,
  bind_port: port,
}
const defaults: Values = {
  handshake_timeout_ms: 10_000,
  connect_timeout_ms: 10_000,
  local_connect_timeout_ms: 1_000,
  half_close_timeout_ms: 300_000,
  idle_timeout_ms: 0,
  end_denied_sessions: true,
  drain: 30,
  drain_delay: 0,
  authorization: 'intentions',
}

// Of the process: who may register a service must not choose them. Access to the agent goes by the names of its flags.
const agentAccess = [
  ...[
    'http_addr',
    'token',
    'token_file',
    'ca_file',
    'ca_path',
    'client_cert',
    'client_key',
    'tls_server_name',
  ],
  ...['datacenter', 'stale', 'cert_file', 'key_file', 'config'],
]

/** Reads registrations one after the other; a value of a wrong type leaves the last good one of its key in force. */
export class RegistrationReader {
  readonly notices: Notices
  /** What the operator has allowed on the command line; a registration can't. */
  readonly unsafe: { readonly upstreamBind: boolean; readonly localService: boolean }
  readonly #flags: Values
  readonly #good = new Map<string, unknown>()

  constructor(overrides: Overrides, warn: (message: string) => void) {
    this.notices = new Notices(warn)
    const given = (name: string) => overrides.get(name)?.value === true
    this.unsafe = {
      upstreamBind: given('unsafe_upstream_bind'),
      localService: given('unsafe_local_service'),
    }
    this.#flags = Object.fromEntries(
      [...overrides].flatMap(([name, { value }]) => (name in keys ? [[name, keys[name]?.read(value)]] : [])),
    )
  }

  /**
   * Flag over registration over default. A later layer goes before an earlier one; its name stands in warnings, and keeps the last
   * good values apart.
   */
  read(...layers: readonly (readonly [string, Values])[]): RegistrationSettings {
    const merged = Object.fromEntries(
      layers.flatMap(([scope, config]) => Object.entries(this.#readOne(scope, config))),
    )
    const value = (name: string) => this.#flags[name] ?? merged[name] ?? defaults[name]
    return {
      handshakeTimeoutMs: value('handshake_timeout_ms') as number,
      connectTimeoutMs: value('connect_timeout_ms') as number,
      localConnectTimeoutMs: value('local_connect_timeout_ms') as number,
      halfCloseTimeoutMs: value('half_close_timeout_ms') as number,
      idleTimeoutMs: value('idle_timeout_ms') as number,
      endDeniedSessions: value('end_denied_sessions') as boolean,
      drainMs: (value('drain') as number) * 1000,
      drainDelayMs: (value('drain_delay') as number) * 1000,
      authorization: value('authorization') as AuthorizedBy,
      bindAddress: value('bind_address') as string | undefined,
      bindPort: value('bind_port') as number | undefined,
    }
  }

  #readOne(scope: string, config: Values): Values {
    const read: Record<string, unknown> = Object.create(null)
    for (const [name, raw] of Object.entries(config)) {
      const key = Object.hasOwn(keys, name) ? keys[name] : undefined
      if (key === undefined) {
        if (belongsToProcess(name))
          this.notices.note(`${scope}: ${name} belongs to the process and is not taken from a registration`)
        continue
      }
      const value = key.read(raw)
      const place = `${scope} ${name}`
      if (value === undefined)
        this.notices.note(
          `${scope}: ${name}: got ${show(raw)}, expected ${key.takes}; the last good value stays`,
        )
      else this.#good.set(place, value)
      const kept = this.#good.get(place)
      if (kept !== undefined) read[name] = kept
    }
    return read
  }
}

function belongsToProcess(name: string): boolean {
  return scalarSettings().has(name) || agentAccess.includes(name) || name.startsWith('unsafe_')
}

/** The registration's address and port, unless its config names others (as Envoy does it; the built-in ignores them). */
export function publicBind(
  settings: RegistrationSettings,
  registered: { readonly address: string; readonly port: number },
): Address | undefined {
  // 0 names none, to Envoy as well (agent/xds: BindPort).
  const number = settings.bindPort || registered.port
  if (number < 1 || number > 65_535) return undefined
  const host = settings.bindAddress || registered.address || '0.0.0.0'
  return { host: parseAddress(`${host}:${number}`)?.host ?? host.replace(/^\[|\]$/g, ''), port: number }
}
