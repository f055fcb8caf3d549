// What a run found, as it is written to bench/results/: every value of every round, and what is needed to run it again.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Machine } from '../src/bench/machine.ts'

/** Values by name; `curve` is that of latencies, in microseconds. */
export interface Measurement {
  readonly values: Readonly<Record<string, number>>
  readonly curve?: readonly (readonly [number, number])[]
}

/** Scenario → measurement, for each chain of a round. */
export type Round = Record<string, Record<string, Measurement>>

export interface ChainFacts {
  readonly title: string
  readonly kind: 'own' | 'tls' | 'plain'
  readonly version: string
  readonly protocol?: string
  readonly cipher?: string
}

export interface Results {
  readonly startedAt: string
  readonly command: string
  readonly machine: Machine
  /** In the order in which they are shown. */
  readonly chains: Readonly<Record<string, ChainFacts>>
  readonly leftOut: Readonly<Record<string, string>>
  readonly scenarios: Readonly<Record<string, string>>
  readonly rounds: Round[]
  /** Runs that failed: none of them is among the measurements. */
  readonly errors: string[]
  complete: boolean
}

export const resultsFolder = fileURLToPath(new URL('results/', import.meta.url))

/** One value of a chain in a round. */
export function measured(round: Round, chain: string, scenario: string, name: string): number | undefined {
  return round[chain]?.[scenario]?.values[name]
}

/** A reader meets the old or the new. */
export function writeJson(file: string, content: object): void {
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(`${file}.new`, `${JSON.stringify(content)}\n`)
  renameSync(`${file}.new`, file)
}

export function readJson<Content>(file: string): Content {
  return JSON.parse(readFileSync(file, 'utf8')) as Content
}

/** The last that was recorded, by the time in its name; short runs do not count. */
export function lastRecorded(kind: 'run' | 'growth' | 'agent', folder = resultsFolder): string | undefined {
  if (!existsSync(folder)) return undefined
  const name = readdirSync(folder)
    .filter(file => file.startsWith(`${kind}-`) && file.endsWith('.json'))
    .toSorted()
    .at(-1)
  return name === undefined ? undefined : join(folder, name)
}
