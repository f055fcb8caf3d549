// Figures that targets and charts are made of, each from one round.
import { measured, type Results, type Round } from './results.ts'

/** The best of the peers with TLS in a round, by one value. */
export function bestPeer(
  round: Round,
  results: Results,
  {
    scenario,
    name,
    best,
  }: { readonly scenario: string; readonly name: string; readonly best: 'most' | 'least' },
): number | undefined {
  const values = Object.keys(results.chains)
    .filter(chain => results.chains[chain]?.kind === 'tls')
    .map(chain => measured(round, chain, scenario, name))
    .filter(value => value !== undefined)
  if (values.length === 0) return undefined
  return best === 'most' ? Math.max(...values) : Math.min(...values)
}

/** Of a round trip, what one hop adds. */
export function addedByHop(round: Round, chain: string, scenario: string, name: string): number | undefined {
  const [whole, direct] = [measured(round, chain, scenario, name), measured(round, 'direct', scenario, name)]
  return whole === undefined || direct === undefined ? undefined : (whole - direct) / 2
}

function least(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter(value => value !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}

export function bestAdded(
  round: Round,
  results: Results,
  scenario: string,
  name: string,
): number | undefined {
  const tls = Object.keys(results.chains).filter(chain => results.chains[chain]?.kind === 'tls')
  return least(tls.map(chain => addedByHop(round, chain, scenario, name)))
}

export function residentMb(round: Round, chain: string, step: number): number | undefined {
  const [a, b] = ['a', 'b'].map(hop => measured(round, chain, 'idle', `${hop}-rss-${step}`))
  return a === undefined || b === undefined ? undefined : ((a + b) * 1024) / 1e6
}
