// Where a connection of the local app goes: a pure function of the snapshot, the endpoints' counters and given randomness.
import { formatAddress } from '../address.ts'
import { consulServerName } from '../identity/spiffe-id.ts'
import type { Snapshot } from '../snapshot/snapshot.ts'
import { type ChoiceFacts, orderEndpoints } from '../upstream/choice.ts'
import type { RouteAnswer, RouteQuestion } from './policy.ts'

// An attempt leaves time for two more where there are as many endpoints.
const attemptsWithinTimeout = 3
// A plan past this is never walked to its end.
const maxAttempts = 16

export function route(snapshot: Snapshot, question: RouteQuestion, facts: ChoiceFacts): RouteAnswer {
  const { session } = question
  const { generation } = snapshot
  const upstream = snapshot.upstreams.find(({ key }) => key === question.listener)
  if (upstream === undefined) return { session, generation, admitted: false, reason: 'not_routed' }

  const { trustDomain } = snapshot.identity.leaf.id
  const expected = upstream.expect.filter(id => id.trustDomain === trustDomain)
  const [first] = expected
  if (first === undefined) {
    const detail = `expect names no ID of our trust domain ${trustDomain}`
    return { session, generation, admitted: false, reason: 'foreign_trust_domain', detail }
  }
  const byName = new Map(upstream.endpoints.map(address => [formatAddress(address), address]))
  const names = orderEndpoints([...byName.keys()], facts).slice(0, maxAttempts)
  if (names.length === 0) return { session, generation, admitted: false, reason: 'no_endpoints' }

  const serverName = consulServerName(first)
  return {
    session,
    generation,
    admitted: true,
    connectTimeoutMs: upstream.connectTimeoutMs,
    attempts: names.flatMap(endpoint => {
      const address = byName.get(endpoint)
      if (address === undefined) return []
      return [
        {
          endpoint,
          address,
          expect: expected.map(id => id.uri),
          timeLimitMs: upstream.connectTimeoutMs / attemptsWithinTimeout,
          ...(serverName !== undefined && { serverName }),
        },
      ]
    }),
  }
}
