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

export function route(
  snapshot: Snapshot,
  question: RouteQuestion,
  facts: Omit<ChoiceFacts, 'most'>,
): RouteAnswer {
  const { session } = question
  const { generation } = snapshot
  const upstream = snapshot.upstreams.find(({ key }) => key === question.listener)
  if (upstream === undefined) return { session, generation, admitted: false, reason: 'not_routed' }

  const { trustDomain } = snapshot.identity.leaf.id
  if (upstream.endpoints.length === 0) return { session, generation, admitted: false, reason: 'no_endpoints' }
  // Who is of another trust domain is not expected, whatever the configuration says.
  const reachable = upstream.endpoints.flatMap(({ address, expect, weight }) => {
    const expected = expect.filter(id => id.trustDomain === trustDomain)
    return expected.length === 0 ? [] : [{ name: formatAddress(address), address, expected, weight }]
  })
  if (reachable.length === 0) {
    const detail = `no endpoint is of our trust domain ${trustDomain}`
    return { session, generation, admitted: false, reason: 'foreign_trust_domain', detail }
  }
  const attempts = orderEndpoints(reachable, { ...facts, most: maxAttempts }).map(
    ({ name, address, expected }) => {
      const serverName = expected[0] === undefined ? undefined : consulServerName(expected[0])
      return {
        endpoint: name,
        address,
        expect: expected.map(id => id.uri),
        timeLimitMs: upstream.connectTimeoutMs / attemptsWithinTimeout,
        ...(serverName !== undefined && { serverName }),
      }
    },
  )
  return { session, generation, admitted: true, connectTimeoutMs: upstream.connectTimeoutMs, attempts }
}
