import assert from 'node:assert/strict'
import test from 'node:test'
import { parseLeaf, parseTrustBundle } from '../../src/identity/identity.ts'
import { parseSpiffeId, parseSpiffePattern } from '../../src/identity/spiffe-id.ts'
import { admit } from '../../src/policy/admit.ts'
import { deniedSessions } from '../../src/policy/denied-sessions.ts'
import { route } from '../../src/policy/route.ts'
import type { Snapshot } from '../../src/snapshot/snapshot.ts'
import { mesh, spiffeId } from '../support/pki.ts'

const trust = parseTrustBundle(mesh.root.certPem)
const leaf = parseLeaf({
  certPem: mesh.db.chainPem,
  keyPem: Buffer.from(mesh.db.keyPem),
  trust,
  now: Date.now(),
})
const timeouts = { halfCloseTimeoutMs: 1, idleTimeoutMs: 0 }

function snapshot({
  allow = [spiffeId('web')],
  expect = [spiffeId('api')],
  endpoints = ['10.0.0.1'],
} = {}): Snapshot {
  return {
    generation: 7,
    service: 'db',
    identity: { leaf, trust },
    inbound: {
      key: 'public',
      bind: { host: '127.0.0.1', port: 1 },
      localApp: { host: '127.0.0.1', port: 2 },
      authorization: { by: 'allow', allow: allow.map(parseSpiffePattern) },
      endDeniedSessions: true,
      handshakeTimeoutMs: 1,
      localConnectTimeoutMs: 77,
      ...timeouts,
    },
    upstreams: [
      {
        key: 'upstream:api',
        name: 'api',
        bind: { host: '127.0.0.1', port: 3 },
        endpoints: endpoints.map(host => ({
          address: { host, port: 9 },
          expect: expect.map(parseSpiffeId),
          weight: 1,
        })),
        connectTimeoutMs: 900,
        ...timeouts,
      },
    ],
  }
}
const asks = (...uriSans: string[]) => ({ session: 5, listener: 'public', uriSans, serial: '01' })
const facts = { counters: new Map(), now: 0, random: () => 0 }

test('a peer that allow names is admitted to the local app', () => {
  const answer = admit(snapshot(), asks(spiffeId('web')))
  const target = { host: '127.0.0.1', port: 2 }
  assert.deepEqual(answer, {
    session: 5,
    generation: 7,
    admitted: true,
    peer: spiffeId('web'),
    target,
    connectTimeoutMs: 77,
  })
})

for (const [what, state, question, reason] of [
  ['a peer that allow does not name is denied', snapshot(), asks(spiffeId('api')), 'denied'],
  ['an empty allow admits nobody', snapshot({ allow: [] }), asks(spiffeId('web')), 'denied'],
  ['a peer without a URI SAN is refused', snapshot(), asks(), 'peer_identity_refused'],
  [
    'a peer with two URI SANs is refused, also where allow names both',
    snapshot(),
    asks(spiffeId('web'), spiffeId('web')),
    'peer_identity_refused',
  ],
  [
    'a peer whose URI SAN is no SPIFFE ID is refused',
    snapshot(),
    asks('https://example.com/web'),
    'peer_identity_refused',
  ],
  [
    'a peer of another trust domain is refused, also where allow names it',
    snapshot({ allow: [spiffeId('web', 'other.test')] }),
    asks(spiffeId('web', 'other.test')),
    'foreign_trust_domain',
  ],
  [
    'a listener that is no more admits nobody',
    snapshot(),
    { ...asks(spiffeId('web')), listener: 'gone' },
    'not_routed',
  ],
] as const) {
  test(what, () => {
    const answer = admit(state, question)
    assert.equal(answer.admitted, false)
    assert.equal('reason' in answer && answer.reason, reason)
  })
}

test("a plan names each endpoint with the expected IDs, Consul's server name and a third of the time", () => {
  const answer = route(
    snapshot({ endpoints: ['10.0.0.1', '10.0.0.2'] }),
    { session: 1, listener: 'upstream:api' },
    facts,
  )
  assert.ok(answer.admitted)
  assert.equal(answer.connectTimeoutMs, 900)
  assert.deepEqual(answer.attempts.map(({ endpoint }) => endpoint).toSorted(), ['10.0.0.1:9', '10.0.0.2:9'])
  for (const attempt of answer.attempts) {
    assert.deepEqual(attempt.expect, [spiffeId('api')])
    assert.equal(attempt.serverName, 'api.default.dc1.internal.mesh.test')
    assert.equal(attempt.timeLimitMs, 300)
  }
})

test('an expected ID of another trust domain is not expected', () => {
  const mixed = route(
    snapshot({ expect: [spiffeId('api', 'other.test'), spiffeId('api')] }),
    { session: 1, listener: 'upstream:api' },
    facts,
  )
  assert.ok(mixed.admitted)
  assert.deepEqual(mixed.attempts[0]?.expect, [spiffeId('api')])
  const foreign = route(
    snapshot({ expect: [spiffeId('api', 'other.test')] }),
    { session: 1, listener: 'upstream:api' },
    facts,
  )
  assert.equal('reason' in foreign && foreign.reason, 'foreign_trust_domain')
})

test('an upstream that is no more has no plan, and one without endpoints neither', () => {
  const gone = route(snapshot(), { session: 1, listener: 'upstream:gone' }, facts)
  assert.equal('reason' in gone && gone.reason, 'not_routed')
  const empty = route(snapshot({ endpoints: [] }), { session: 1, listener: 'upstream:api' }, facts)
  assert.equal('reason' in empty && empty.reason, 'no_endpoints')
})

test('a change ends the inbound sessions of peers that it denies, and no other', () => {
  const session = (id: number, listener: string, peer?: string) => ({
    id,
    listener,
    ...(peer !== undefined && { peer }),
  })
  const sessions = [
    session(1, 'public', spiffeId('web')),
    session(2, 'public', spiffeId('api')),
    session(3, 'public'),
    session(4, 'upstream:api', spiffeId('api')),
    session(5, 'removed', spiffeId('api')),
  ]
  assert.deepEqual(deniedSessions(snapshot(), sessions), [2])
  assert.deepEqual(deniedSessions(snapshot({ allow: [] }), sessions), [1, 2])
  const { inbound: _, ...without } = snapshot()
  assert.deepEqual(deniedSessions(without, sessions), [], 'sessions of a removed listener live on')
})

test('a change of our trust domain ends no session that is still allowed', () => {
  const former = spiffeId('web', 'former.test')
  const sessions = [{ id: 1, listener: 'public', peer: former }]
  assert.deepEqual(deniedSessions(snapshot({ allow: [former] }), sessions), [])
  assert.deepEqual(deniedSessions(snapshot({ allow: [spiffeId('web')] }), sessions), [1])
})

test('where denied sessions are not to be ended none is', () => {
  const { inbound, ...rest } = snapshot({ allow: [] })
  const sessions = [{ id: 1, listener: 'public', peer: spiffeId('web') }]
  assert.ok(inbound !== undefined)
  assert.deepEqual(deniedSessions({ ...rest, inbound }, sessions), [1])
  assert.deepEqual(
    deniedSessions({ ...rest, inbound: { ...inbound, endDeniedSessions: false } }, sessions),
    [],
  )
})
