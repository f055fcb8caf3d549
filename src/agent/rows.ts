// What the agent keeps: one type a kind of row, with Consul's names for what its API shows.
import type { Json } from '../consul/shape.ts'

/** When a row came and when it last changed, as indexes. */
export interface Indexes {
  readonly CreateIndex: number
  readonly ModifyIndex: number
}

/** From where a definition came: a file's is taken back where the file no longer has it. */
export type Origin = 'file' | 'api'

export interface Weights {
  readonly Passing: number
  readonly Warning: number
}

export interface Upstream {
  readonly DestinationType: string
  readonly DestinationName: string
  readonly Datacenter?: string
  readonly LocalBindAddress?: string
  readonly LocalBindPort: number
  readonly Config?: Json
  readonly MeshGateway: Json
}

export interface ProxyBlock {
  readonly DestinationServiceName: string
  readonly DestinationServiceID?: string
  readonly LocalServiceAddress?: string
  readonly LocalServicePort?: number
  readonly Config?: Json
  readonly Upstreams?: readonly Upstream[]
  readonly MeshGateway: Json
  readonly Expose: Json
}

export interface ServiceRow {
  readonly ID: string
  readonly Service: string
  readonly Kind: '' | 'connect-proxy'
  readonly Tags: readonly string[]
  readonly Meta: Readonly<Record<string, string>>
  readonly Port: number
  readonly Address: string
  readonly TaggedAddresses?: Json
  readonly Weights: Weights
  readonly EnableTagOverride: boolean
  readonly Proxy?: ProxyBlock
  readonly Native: boolean
  /** The instance that this one was made for by its `sidecar_service` or `proxy` block, and goes with. */
  readonly parent?: string
  /** What a managed proxy is run by; on the proxy's row. */
  readonly managed?: ManagedBlock
  readonly origin: Origin
}

export interface ManagedBlock {
  /** Empty for this program's own proxy. */
  readonly command: readonly string[]
}

export const statuses = ['passing', 'warning', 'critical'] as const
export type Status = (typeof statuses)[number]

export interface CheckRow {
  readonly CheckID: string
  readonly Name: string
  readonly Status: Status
  readonly Notes: string
  readonly Output: string
  /** Empty for a check of the node. */
  readonly ServiceID: string
  readonly Type: string
  readonly probe: Probe
  /** Zero for never. */
  readonly deregisterAfterMs: number
  /** Whether it came with its service's definition, and goes where that no longer has it. */
  readonly ofDefinition: boolean
  readonly origin: Origin
}

export type Probe =
  | { readonly by: 'nothing' }
  | { readonly by: 'ttl'; readonly ttlMs: number }
  | { readonly by: 'tcp'; readonly target: string; readonly intervalMs: number; readonly timeoutMs: number }
  | {
      readonly by: 'http'
      readonly url: string
      readonly method: string
      readonly headers: Readonly<Record<string, readonly string[]>>
      readonly body: string
      readonly skipVerify: boolean
      readonly intervalMs: number
      readonly timeoutMs: number
    }
  | { readonly by: 'alias'; readonly service: string }

export interface IntentionRow {
  readonly ID: string
  readonly Description: string
  readonly SourceName: string
  readonly DestinationName: string
  readonly Action: 'allow' | 'deny'
  readonly Meta: Readonly<Record<string, string>>
  readonly CreatedAt: string
  readonly UpdatedAt: string
}

export interface QueryRow {
  readonly ID: string
  readonly Name: string
  readonly definition: Json
}

export interface TokenRow {
  readonly AccessorID: string
  /** SHA-256 of the secret, hexadecimal: the secret itself is in the answer that made it, and nowhere else. */
  readonly secretHash: string
  readonly Description: string
  readonly management: boolean
  readonly identities: readonly string[]
  /** IDs; one that is not there any more gives nothing. */
  readonly policies?: readonly string[]
  /** The ID of the managed proxy that it was made for. */
  readonly proxy?: string
  readonly CreateTime: string
}

export interface PolicyRow {
  readonly ID: string
  readonly Name: string
  readonly Description: string
  /** As they were given: HCL 1 or JSON. */
  readonly Rules: string
  /** Where it holds; empty for everywhere. */
  readonly Datacenters: readonly string[]
}

export interface RootRow {
  readonly ID: string
  readonly Name: string
  readonly certPem: string
  /** Cross-signed by the roots before it, the newest first. */
  readonly intermediatePems: readonly string[]
  readonly active: boolean
  /** PKCS #8 in PEM, of the active root alone; never in an answer. */
  readonly keyPem?: string
  /** When it ceased to be active. */
  readonly retiredAt?: number
}

/** What there is one of: `node`, `authority`. */
export interface SettingRow {
  readonly value: Json
}

export interface RowTypes {
  readonly service: ServiceRow
  readonly check: CheckRow
  readonly intention: IntentionRow
  readonly query: QueryRow
  readonly token: TokenRow
  readonly policy: PolicyRow
  readonly root: RootRow
  readonly setting: SettingRow
}

export type Kind = keyof RowTypes

export const kinds = [
  'service',
  'check',
  'intention',
  'query',
  'token',
  'policy',
  'root',
  'setting',
] as const satisfies readonly Kind[]

export type Row<K extends Kind> = RowTypes[K] & Indexes
