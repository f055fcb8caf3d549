// The addon's face, as TypeScript sees it, and loading it: never a crash, always a reason.
import { createRequire } from 'node:module'
import { packageRoot } from '../../package-root.ts'
import type {
  AdmitQuestion,
  AesChoice,
  EndpointCounters,
  Generation,
  ListenerSpec,
  RelayChoice,
  RouteQuestion,
  SessionId,
  SessionRecord,
  SessionView,
  TerminationReason,
} from '../interface.ts'
import type { KernelFacts } from './kernel-tls.ts'

/** What came about, as JSON. */
export interface Batch {
  readonly admit: readonly AdmitQuestion[]
  readonly route: readonly RouteQuestion[]
  readonly lookup: readonly { readonly session: SessionId; readonly host: string }[]
  readonly ended: readonly SessionRecord[]
  /** Listeners that have been closed as was asked. */
  readonly closed: readonly number[]
}

/** Endpoint, host, port, server name or nothing in it, time limit, and the SPIFFE IDs that are expected. */
export type FlatAttempt = readonly [string, string, number, string, number, ...string[]]

export interface TallyCounts {
  readonly accepted: number
  readonly open: number
  readonly waiting: number
  readonly bytesToUpstream: number
  readonly bytesToDownstream: number
}

/** Times are by the engine's clock. */
export interface EndpointCounts extends EndpointCounters {
  readonly name: string
}

export interface EngineOptions {
  readonly workers: number
  readonly handshakeThreads: number
  /** Under one AES-GCM key. */
  readonly rekeyAfterRecords: number
  /** A bit for each cipher that is left to kernel TLS; 0 for none. */
  readonly kernelCiphers: number
  readonly kernelRekeys: boolean
  /** Bytes that sessions may own together. */
  readonly bufferMemory: number
}

/** Milliseconds by CLOCK_MONOTONIC, as every time of the engine. */
export interface Engine {
  /** @throws Error what OpenSSL said */
  setIdentity(
    chainPem: string,
    privateKey: Buffer,
    rootsPem: string,
    groups: string,
    resumption: boolean,
  ): void
  setGeneration(generation: number): void
  /** Binds and listens; the name of the error where it can't. The host is an IP address, or `unix:` and a path. */
  bind(
    host: string,
    port: number,
    spec: ListenerSpec,
    tally: number,
  ): { readonly id: number; readonly port: number } | string
  changeListener(id: number, spec: ListenerSpec, tally: number): void
  closeListener(id: number, takeQueued: boolean): void
  admit(
    session: SessionId,
    generation: Generation,
    peer: string,
    host: string,
    port: number,
    connectTimeoutMs: number,
  ): void
  plan(
    session: SessionId,
    generation: Generation,
    connectTimeoutMs: number,
    attempts: readonly FlatAttempt[],
  ): void
  refuse(
    session: SessionId,
    generation: Generation,
    reason: string,
    detail: string | undefined,
    peer: string | undefined,
  ): void
  /** `host` as it was asked about. */
  answerLookup(session: SessionId, host: string, addresses: readonly string[], error: string): void
  terminate(sessions: readonly SessionId[], reason: TerminationReason): number
  sessions(): readonly SessionView[]
  sessionIds(): readonly SessionId[]
  makeTally(): number
  dropTally(tally: number): void
  readTally(tally: number): TallyCounts
  readEndpoints(tally: number): readonly EndpointCounts[]
  ownedBytes(): number
  nowMs(): number
  /** Ends all threads; what came about until then is given to `onBatch` before it returns. */
  close(onBatch: (json: string) => void): void
}

export interface Addon {
  readonly Engine: new (options: EngineOptions, onBatch: (json: string) => void) => Engine
  /** Tries kernel TLS on connections of its own: some milliseconds where it is there, a system call where it is not. */
  readonly probeKernelTls: () => KernelFacts
  /** Of keys made from now on, in the whole process; answers whose AES-GCM that is here. */
  readonly chooseAes: (choice: AesChoice) => NonNullable<RelayChoice['aes']>
  /** Takes out of memory what of Node's code and constants was needed for the start alone: some milliseconds. */
  readonly letGoOfStartup: () => void
  /** GB/s that one core seals, of AES-128-GCM (0), AES-256-GCM (1) or ChaCha20-Poly1305 (2); takes that many seconds. */
  readonly aeadSpeed: (aead: number, seconds: number) => number
  /** The version of the library that its symbols are bound to. */
  readonly openssl: string
}

export type Loaded = { readonly addon: Addon } | { readonly why: string }

let loaded: Loaded | undefined

/** The addon, or why it can't be had here. */
export function loadAddon(): Loaded {
  loaded ??= loadAddonFrom(packageRoot)
  return loaded
}

/** The addon that a folder holds, compiled there or made before; the Node may be another's description. */
export function loadAddonFrom(folder: string, runtime: Runtime = process): Loaded {
  const misfit = misfitOf(runtime)
  if (misfit !== undefined) return { why: misfit }
  const require = createRequire(import.meta.url)
  try {
    const addon = (require('node-gyp-build') as (folder: string) => Partial<Addon>)(folder)
    if (typeof addon.Engine !== 'function') return { why: 'it can not be loaded: the file is another addon' }
    if (addon.openssl !== runtime.versions.openssl)
      return { why: `it is bound to OpenSSL ${addon.openssl}, Node has ${runtime.versions.openssl}` }
    return { addon: addon as Addon }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { why: `it can not be loaded: ${firstLine(message)}` }
  }
}

/** Of node-gyp-build's, which goes on with the folder, and of dlopen(3)'s. */
function firstLine(message: string): string {
  return message.split('\n')[0] ?? ''
}

export interface Runtime {
  readonly platform: string
  readonly versions: { readonly openssl?: string }
  readonly config: { readonly variables: object }
}

/** What keeps the addon from fitting this Node, before it is loaded: it calls the OpenSSL that Node itself contains and exports. */
export function misfitOf({ platform, versions, config }: Runtime): string | undefined {
  if (platform !== 'linux') return `it is for Linux, this is ${platform}`
  const { node_shared_openssl: shared } = config.variables as { node_shared_openssl?: boolean }
  if (shared === true) return 'this Node is linked to a shared OpenSSL'
  const { openssl = 'none' } = versions
  // With "+quic" and its like behind it, it is a fork.
  return /^3\.\d+\.\d+$/.test(openssl)
    ? undefined
    : `it needs OpenSSL 3 inside Node, this Node has ${openssl}`
}
