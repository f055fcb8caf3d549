// What the bench knows of a proxy that it measures: how two of them make a chain. One file a peer in peers/.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Identities } from '../src/bench/identities.ts'
import type { ProcessSpec } from '../src/bench/process.ts'

/** `own` is sidesplice, `tls` what it competes with, `plain` a reference without TLS. */
export type PeerKind = 'own' | 'tls' | 'plain'

export interface Setup {
  /** Its own, and empty. */
  readonly folder: string
  readonly app: string
  readonly identities: Identities
  /** Whether only its memory is measured: a proxy that can be told to collect its garbage is started so that it can. */
  readonly forMemory: boolean
}

/** A chain that is set up and not started. Without A and B the load goes straight to the app. */
export interface ChainSetup {
  readonly to: string
  readonly a?: ProcessSpec
  readonly b?: ProcessSpec
  /** Where A reaches B. */
  readonly bAddress?: string
  /** Of the CA that this chain uses, where that is not the bench's. */
  readonly identities?: Identities
  /** Read each second while it is measured, as a Prometheus does. */
  readonly metrics?: readonly string[]
  /** Sent to A and B before their memory is read. */
  readonly settleSignal?: NodeJS.Signals
  /** What has to go when the bench ends. */
  readonly close?: () => Promise<void>
}

export interface Peer {
  readonly name: string
  readonly title: string
  readonly kind: PeerKind
  /** Whether thousands of idle connections make sense: a thread for each does not. */
  readonly holdsIdle: boolean
  /** Whether its sessions are resumed; of such a chain new connections alone are measured. */
  readonly resumes?: true
  /** What keeps it from running here. */
  readonly missing: () => string | undefined
  readonly version: () => string
  readonly open: (setup: Setup) => Promise<ChainSetup>
}

export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']
  return folders.map(folder => join(folder, name)).find(path => existsSync(path))
}

export function missingProgram(name: string): () => string | undefined {
  return () => (findProgram(name) === undefined ? `${name} is not on the PATH` : undefined)
}

/** The first line of what it says of itself. */
export function versionOf(program: string, args: readonly string[]): string {
  const { stdout = '', stderr = '' } = spawnSync(program, args, { encoding: 'utf8' })
  return `${stdout}${stderr}`.trim().split('\n')[0] ?? ''
}

export function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1))
}
