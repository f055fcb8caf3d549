// The configuration file as the schema leaves it: keys as they are written, values of the right types.
import type { AccessLog, AesChoice, KernelTlsChoice, KeyExchange, LogLevel } from './config.ts'

/** The file as the schema leaves it: defaults filled in, numbers as numbers. */
export interface ConfigFile {
  readonly service: string
  readonly identity: { readonly cert_file: string; readonly key_file: string; readonly ca_file: string }
  readonly inbound?: {
    readonly listen: string
    readonly local_service_address: string
    readonly allow: readonly string[]
  }
  readonly upstreams: readonly UpstreamEntry[]
  readonly handshake_timeout_ms: number
  readonly connect_timeout_ms: number
  readonly local_connect_timeout_ms: number
  readonly half_close_timeout_ms: number
  readonly idle_timeout_ms: number
  readonly drain: number
  readonly drain_delay: number
  readonly data_plane: 'auto' | 'native' | 'javascript'
  readonly workers?: number
  readonly key_exchange: KeyExchange
  readonly resumption: 'on' | 'off'
  readonly ktls: KernelTlsChoice
  readonly aes: AesChoice
  readonly buffer_memory?: number | string
  readonly log_level: LogLevel
  readonly log_json: boolean
  readonly access_log: AccessLog
  readonly admin?: string
  readonly metrics?: string
  readonly consul_metrics: boolean
  readonly unsafe_admin: boolean
  readonly unsafe_upstream_bind: boolean
  readonly unsafe_local_service: boolean
}

export interface UpstreamEntry {
  readonly destination_name: string
  readonly local_bind_address: string
  readonly local_bind_port?: number
  readonly local_bind_socket_path?: string
  readonly local_bind_socket_mode?: string
  readonly endpoints: readonly string[]
  readonly expect: readonly string[]
  readonly connect_timeout_ms?: number
  readonly half_close_timeout_ms?: number
  readonly idle_timeout_ms?: number
}
