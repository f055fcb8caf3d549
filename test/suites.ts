// The suites there are, and what each needs beside npm's packages.
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { missingAddon } from './support/addon.ts'
import { consulBinary } from './support/consul-binary.ts'

export interface Suite {
  readonly name: string
  readonly files: string
  /** What is missing on this machine; empty where the suite can run. */
  readonly missing: () => readonly string[]
  /** Whether it runs on both data planes: without the addon it runs on JavaScript alone, and what is left out is named. */
  readonly onBothDataPlanes?: true
}

const nothing = () => []

export const suites: readonly Suite[] = [
  { name: 'unit', files: 'test/unit/**/*.test.ts', missing: nothing },
  {
    name: 'conformance',
    files: 'test/conformance/**/*.test.ts',
    missing: () => programs(['openssl']),
    onBothDataPlanes: true,
  },
  { name: 'e2e', files: 'test/e2e/**/*.test.ts', missing: nothing },
  {
    name: 'apps',
    files: 'test/apps/**/*.test.ts',
    missing: () => [...programs(['redis-server', 'redis-benchmark', 'pgbench']), ...postgres()],
  },
  {
    name: 'consul',
    files: 'test/consul/**/*.test.ts',
    missing: () => (existsSync(consulBinary) ? [] : ['consul 1.8.7']),
  },
  {
    name: 'native',
    files: 'test/native/**/*.test.ts',
    missing: () => [
      ...addon(),
      ...programs(['cmake', 'ninja', 'gcc', 'g++', 'readelf', 'clang++-14']),
      ...headers({ 'libssl-dev': 'openssl/ssl.h', 'doctest-dev': 'doctest/doctest.h' }),
    ],
  },
  { name: 'package', files: 'test/package/**/*.test.ts', missing: () => programs(['npm']) },
]

/** Named in what is left out. */
export function addon(): readonly string[] {
  const why = missingAddon()
  return why === undefined ? [] : [`the native addon (${why})`]
}

function programs(names: readonly string[]): readonly string[] {
  return names.filter(name => findProgram(name) === undefined)
}

export function findProgram(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders.map(folder => join(folder, name)).find(path => existsSync(path))
}

/** Debian packages of which a header is not there. */
function headers(wanted: Readonly<Record<string, string>>): readonly string[] {
  return Object.keys(wanted).filter(name => !existsSync(join('/usr/include', wanted[name] ?? '')))
}

function postgres(): readonly string[] {
  return postgresFolder() === undefined ? ['postgresql'] : []
}

/** Where Debian keeps PostgreSQL's server programs, newest first. */
export function postgresFolder(): string | undefined {
  return [18, 17, 16, 15, 14, 13]
    .map(version => `/usr/lib/postgresql/${version}/bin`)
    .find(folder => existsSync(join(folder, 'initdb')))
}
