// Results as a run writes them, with values of the test's choice.

import type { Measurement, Results, Round } from '../../bench/results.ts'
import type { Machine } from '../../src/bench/machine.ts'

const machine: Machine = {
  cpu: 'a CPU',
  cores: 2,
  memoryGb: 4,
  kernel: '6.1',
  node: '24.0.0',
  openssl: '3.5.0',
  kernelTls: false,
}

export const chains = {
  'sidesplice-native': { title: 'sidesplice', kind: 'own', version: '1' },
  nginx: { title: 'nginx <stream>', kind: 'tls', version: '1' },
  haproxy: { title: 'HAProxy', kind: 'tls', version: '1' },
  floor: { title: 'the floor', kind: 'plain', version: '1' },
  direct: { title: 'no proxy', kind: 'plain', version: '1' },
} as const

export function resultsOf(rounds: Round[], scenarios: Readonly<Record<string, string>> = {}): Results {
  return {
    startedAt: '2026-01-01T00:00:00.000Z',
    command: 'npm run bench',
    machine,
    chains,
    leftOut: { envoy: 'envoy is not on the PATH' },
    scenarios,
    rounds,
    errors: [],
    complete: true,
  }
}

export function value(values: Readonly<Record<string, number>>, curve?: Measurement['curve']): Measurement {
  return { values, ...(curve !== undefined && { curve }) }
}

/** One stream up for each chain, in Gbit/s. */
export function throughput(gbits: Readonly<Record<string, number>>): Round {
  return Object.fromEntries(
    Object.entries(gbits).map(([chain, of]) => [chain, { 'bulk-up-1': value({ gbits: of, cpu: 1 / of }) }]),
  )
}
