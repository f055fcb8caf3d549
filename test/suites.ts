// The suites there are, and what each needs beside npm's packages.
import { existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { onKernelTls } from './ktls/files.ts'
import { missingAddon } from './support/addon.ts'
import { consulBinary } from './support/consul-binary.ts'

export interface Suite {
  readonly name: string
  readonly files: readonly string[]
  /** What is missing on this machine; empty where the suite can run. */
  readonly missing: () => readonly string[]
  /** Whether it has something to say of both data planes: without the addon it runs on JavaScript alone, and what is left out is named. */
  readonly onBothDataPlanes?: true
  /** Set for its tests. */
  readonly variables?: Readonly<Record<string, string>>
  /**
   * What its sidecars are asked to stand on, one run for each; support/sidecar-planes.ts reads it. Where it says nothing they choose, as
   * they do for anybody: native, where there is an addon.
   */
  readonly sidecars?: readonly string[]
  /** Files at a time, where Node's choice (one less than there are cores) leaves a machine idle. */
  readonly filesAtATime?: number
  /** Commands that come first, and have to succeed. */
  readonly before?: readonly (readonly [string, ...string[]])[]
  /** It runs inside a kernel that has TLS (test/support/uml.ts). */
  readonly inKernelWithTls?: true
  /** It runs in a network of its own (test/support/own-network.ts). */
  readonly inOwnNetwork?: true
}

// Time limits that pass, agents that elect themselves, checks that come in their own time: these files wait more than they compute.
const waiting = { filesAtATime: 2 } as const
const nothing = () => []
const consul = () => (existsSync(consulBinary) ? [] : ['consul 1.8.7'])
const appPrograms = () => [...programs(['redis-server', 'redis-benchmark', 'pgbench']), ...postgres()]

// Files about the process, its options, log and files, or in which each sidecar is told its data plane: once is enough.
const saysNothingOfPlanes = [
  ...['configuration-errors', 'debugger', 'demo', 'exposure', 'flag-mode', 'flags', 'identity-files'],
  ...['later-versions', 'log-output', 'reload-refused', 'strangers'],
]
// Files about what is said between a sidecar and its agent; what it carries meanwhile, others are about.
const ofTheAgent = [
  ...['agent-access', 'agent-https', 'agent-restarts', 'authorization-agent', 'flag-mode', 'not-done'],
  ...['prepared-query', 'readme', 'requests', 'self-registration', 'tokens'],
]
const manyProxies = ['many-proxies', 'many-beside-consul']
const plainBuild = '.native-build/plain'

/** Scenarios of a sidecar in a real Consul's mesh that hold in the embedded agent's as well. */
const onEitherAgent = [
  ...['mesh', 'deny', 'scenarios', 'reload', 'prepared-query', 'wrong-service', 'flag-mode', 'tokens'],
  ...[
    'authorization-agent',
    'agent-https',
    'refused-clients',
    'new-cluster',
    'connect-timeout',
    'built-in-agent-gone',
  ],
  ...['built-in-intentions', 'built-in-rotation', 'built-in-refused-clients', 'built-in-half-close'],
]

export const suites: readonly Suite[] = [
  { name: 'unit', files: all('unit'), missing: nothing, ...waiting },
  {
    name: 'conformance',
    files: all('conformance'),
    missing: () => programs(['openssl']),
    onBothDataPlanes: true,
    ...waiting,
  },
  {
    name: 'hostile',
    files: all('hostile'),
    missing: () => [...addon(), ...programs(['unshare', 'setpriv', 'ip'])],
    inOwnNetwork: true,
  },
  { name: 'e2e', files: all('e2e'), missing: nothing, onBothDataPlanes: true, ...waiting },
  {
    name: 'e2e-javascript',
    files: all('e2e', saysNothingOfPlanes),
    missing: nothing,
    sidecars: ['javascript'],
    ...waiting,
  },
  { name: 'apps', files: all('apps'), missing: appPrograms, onBothDataPlanes: true, ...waiting },
  { name: 'apps-javascript', files: all('apps'), missing: appPrograms, sidecars: ['javascript'], ...waiting },
  { name: 'consul', files: all('consul'), missing: consul, onBothDataPlanes: true, ...waiting },
  {
    name: 'consul-javascript',
    files: all('consul', ofTheAgent),
    missing: consul,
    sidecars: ['javascript'],
    ...waiting,
  },
  {
    // One data plane dials, the other is dialed: whatever crosses the wire between two sidecars.
    name: 'mixed',
    files: [
      ...only('e2e', ['access-log', 'reload-allow', 'reload-certificates', 'stop', 'traffic']),
      ...only('consul', ['deny', 'mesh', 'scenarios']),
    ],
    missing: () => [...addon(), ...consul()],
    sidecars: ['native,javascript', 'javascript,native'],
    ...waiting,
  },
  {
    name: 'agent',
    files: [...all('agent', manyProxies), ...only('consul', onEitherAgent)],
    missing: () => [...consul(), ...programs(['strace'])],
    onBothDataPlanes: true,
    variables: { SIDESPLICE_TEST_AGENT: 'embedded' },
    ...waiting,
  },
  {
    // One after the other: each has the machine's memory for dozens of processes. The numbers are settings of the tests.
    name: 'many',
    files: only('agent', manyProxies),
    missing: () => [...addon(), ...consul()],
    filesAtATime: 1,
  },
  {
    // Proxies that are started, taken over and stopped by somebody else do so on either.
    name: 'agent-javascript',
    files: only('agent', ['managed', 'manage']),
    missing: consul,
    variables: { SIDESPLICE_TEST_AGENT: 'embedded' },
    sidecars: ['javascript'],
    ...waiting,
  },
  {
    name: 'native',
    files: all('native'),
    missing: () => [
      ...addon(),
      ...programs(['cmake', 'ninja', 'gcc', 'g++', 'readelf', 'clang++-14']),
      ...headers({ 'libssl-dev': 'openssl/ssl.h', 'doctest-dev': 'doctest/doctest.h' }),
    ],
  },
  {
    name: 'ktls',
    files: [...only('conformance', onKernelTls), ...all('ktls')],
    missing: () => [...addon(), ...programs(['linux.uml', 'busybox', 'openssl', 'cmake', 'ninja', 'g++'])],
    before: [
      ['cmake', '-G', 'Ninja', '-S', 'native', '-B', plainBuild, '-DSANITIZE='],
      ['cmake', '--build', plainBuild, '-j', '2', '--target', 'kernel-tests'],
    ],
    inKernelWithTls: true,
  },
  { name: 'package', files: all('package'), missing: () => programs(['npm']) },
  {
    name: 'bench',
    files: all('bench'),
    missing: () => [...addon(), ...programs(['haproxy', 'nginx', 'chromium'])],
  },
]

/** The test files of a folder but for these: a file that is new is in every suite of its folder. */
function all(folder: string, but: readonly string[] = []): readonly string[] {
  const left = only(folder, but)
  const files = readdirSync(new URL(folder, import.meta.url)).filter(name => name.endsWith('.test.ts'))
  return files.map(name => `test/${folder}/${name}`).filter(file => !left.includes(file))
}

/** These test files of a folder; one that is not there must not go unnoticed. */
function only(folder: string, names: readonly string[]): readonly string[] {
  return names.map(name => {
    const file = `${folder}/${name}.test.ts`
    if (!existsSync(new URL(file, import.meta.url))) throw new Error(`there is no test/${file}`)
    return `test/${file}`
  })
}

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
