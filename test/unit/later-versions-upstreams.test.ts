// Endpoints as Consul 1.9 to 1.20 tell them, and which namespace they are asked for in.
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { ClientOptions } from '../../src/consul/client.ts'
import { UpstreamFollower, type UpstreamFollowerOptions } from '../../src/consul/upstream-follower.ts'
import type { Instance } from '../../src/consul/wire.ts'
import { Era, type Member } from '../support/consul-eras.ts'
import { RunningMesh } from '../support/running-mesh.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh, type Written } from '../support/written-mesh.ts'
import { paths, tellServices } from '../support/written-services.ts'

const era = new Era(20)
const db: Member = { id: 'db1', name: 'db', publicPort: 21_001, appPort: 9_090 }
const row = era.row(db) as { Node: object; Service: object }

async function follow(
  t: TestContext,
  options: Partial<UpstreamFollowerOptions> & { readonly answer: Written },
) {
  const agent = await startWrittenMesh(t, era.options)
  const path = options.type === 'prepared_query' ? '/v1/query/db/execute' : paths.health('db')
  agent.say(path, options.answer)
  const seen: (readonly Instance[])[] = []
  const failures: string[] = []
  let hidden = 0
  const stop = new AbortController()
  t.after(() => stop.abort())
  void new UpstreamFollower({
    client: agent.client(t),
    name: 'db',
    type: 'service',
    namespace: 'default',
    datacenter: '',
    onInstances: instances => seen.push(instances),
    onHidden: () => hidden++,
    onFailure: error => failures.push(`${error.code} ${error.message}`),
    onContact: () => {},
    signal: stop.signal,
    pollMs: 5,
    ...options,
  }).run()
  return { agent, path, seen, failures, hidden: () => hidden }
}

// What a version leaves out, writes as null, or adds: pointers and slices of Go structs without omitempty are null.
for (const [what, answer] of [
  ['no Weights', { ...row, Service: { ...row.Service, Weights: undefined } }],
  [
    'null for Weights, Meta, Tags, Checks',
    { ...row, Service: { ...row.Service, Weights: null, Meta: null, Tags: null }, Checks: null },
  ],
  ['an address of IPv6', { ...row, Service: { ...row.Service, Address: '::1' } }],
  [
    'a mode, a locality and a peer name',
    { ...row, Service: { ...row.Service, Locality: { Region: 'eu' }, PeerName: '', SocketPath: '' } },
  ],
] as const) {
  test(`an instance with ${what} is one, of weight 1`, async t => {
    const { seen } = await follow(t, { answer: { by: 'index', body: [answer] } })
    await until(() => seen.length > 0, 'the instances')
    assert.deepEqual([seen[0]?.length, seen[0]?.[0]?.weight, seen[0]?.[0]?.port], [1, 1, 21_001])
  })
}

for (const [what, answer] of [
  [
    'an instance on a socket (1.10)',
    { ...row, Service: { ...row.Service, Port: 0, SocketPath: '/run/p.sock' } },
  ],
  ['an address that none can be', { ...row, Service: { ...row.Service, Address: 'no host\n' } }],
] as const) {
  test(`${what} is left out, and the others are kept`, async t => {
    const { seen, failures } = await follow(t, { answer: { by: 'index', body: [answer, row] } })
    await until(() => seen.length > 0, 'the instances')
    assert.equal(seen[0]?.length, 1)
    assert.deepEqual(failures, [])
  })
}

for (const [type, answer] of [
  ['service', { by: 'index', body: null }],
  // A Go slice that nothing was put into, in a struct (agent/structs/prepared_query.go).
  [
    'prepared_query',
    { body: { Service: 'db', Nodes: null, DNS: { TTL: '' }, Datacenter: 'dc1', Failovers: 0 } },
  ],
] as const) {
  test(`null is no instance at all: ${type}`, async t => {
    const { seen, failures } = await follow(t, { type, answer })
    await until(() => seen.length > 0, 'the instances')
    assert.deepEqual([seen[0], failures], [[], []])
  })
}

// From 1.10 on health is streamed to agents: `streaming` in X-Consul-Query-Backend (setQueryBackend in agent/http.go).
for (const backend of ['streaming', 'blocking-query']) {
  test(`answers of the ${backend} backend block by their index`, async t => {
    const headers = { 'X-Consul-Query-Backend': backend }
    const { agent, path, seen } = await follow(t, { answer: { by: 'index', body: [row], headers } })
    await until(() => agent.waiting(path) === 1, 'the watch')
    agent.say(path, { by: 'index', body: [row, era.row({ ...db, publicPort: 21_002 })], headers })
    await until(() => seen.at(-1)?.length === 2, 'the second instance')
  })
}

test('an index of 0, which an agent must not send, is not sent back', async t => {
  const { agent, path, seen } = await follow(t, {
    answer: { by: 'index', body: [row], headers: { 'X-Consul-Index': '0' } },
  })
  await until(() => agent.askedFor(path).length >= 3, 'three questions')
  assert.deepEqual([...new Set(agent.askedFor(path).map(({ query }) => query.get('index')))], [null])
  assert.equal(seen[0]?.length, 1)
})

test('rows that ACLs have taken out (1.11) are not taken for instances that are gone, with others left they are', async t => {
  const { agent, path, seen, hidden } = await follow(t, { answer: { by: 'index', body: [row, row] } })
  await until(() => agent.waiting(path) === 1, 'the watch')
  const headers = { 'X-Consul-Results-Filtered-By-Acls': 'true' }
  agent.say(path, { by: 'index', body: [], headers })
  await until(() => hidden() === 1, 'the notice')
  assert.equal(seen.at(-1)?.length, 2)
  agent.say(path, { by: 'index', body: [row], headers })
  await until(() => seen.at(-1)?.length === 1, 'the one that is left')
})

for (const [status, body, code] of [
  [404, 'Query not found', 'agent_not_found'],
  [429, '', 'agent_refused'],
  [500, 'rpc error making call: No cluster leader', 'agent_refused'],
  [503, '', 'agent_refused'],
] as const) {
  test(`a query that is answered by ${status} fails and is asked for again`, async t => {
    const { agent, path, seen, failures } = await follow(t, {
      type: 'prepared_query',
      answer: { status, body },
    })
    await until(() => failures.length > 0, 'the failure')
    assert.match(failures[0] ?? '', new RegExp(`^${code} .*${status}`))
    agent.say(path, { body: { Service: 'db', Nodes: [row], Datacenter: 'dc1', Failovers: 0 } })
    await until(() => seen.at(-1)?.length === 1, 'the instance')
  })
}

// The open-source edition refuses `ns` whatever it says (seen on 1.8.7: 400, for `default` as well), and names no namespace in what it
// answers; Enterprise names one in each registration (api/agent.go, AgentService.Namespace), and takes the token's where none is asked for.
async function asks(t: TestContext, upstream: object, service: object, client: Partial<ClientOptions> = {}) {
  const agent = await startWrittenMesh(t, era.options)
  const upstreams = [{ ...era.upstream('db', 19_191), ...upstream }]
  const web: Member = { id: 'web1', name: 'web', publicPort: 21_000, appPort: 8_080, upstreams, service }
  await tellServices(agent, era, [web, db])
  const running = new RunningMesh(t, agent, 'web1-sidecar-proxy', client)
  await until(() => running.last?.upstreams[0]?.endpoints.length === 1, 'db')
  return agent.askedFor(paths.health('db'))[0]?.query.get('ns')
}

for (const [what, upstream, service, client, ns] of [
  ['nothing names one', {}, {}, {}, null],
  [
    'the upstream names default, and no agent is known to have others',
    { DestinationNamespace: 'default' },
    {},
    {},
    null,
  ],
  ['the upstream names one', { DestinationNamespace: 'team' }, {}, {}, 'team'],
  [
    'the upstream names default, the agent has namespaces',
    { DestinationNamespace: 'default' },
    { Namespace: 'team' },
    {},
    'default',
  ],
  [
    'the upstream names default, CONSUL_NAMESPACE another',
    { DestinationNamespace: 'default' },
    {},
    { namespace: 'team' },
    'default',
  ],
  ['the proxy is in one', {}, { Namespace: 'team' }, {}, 'team'],
  [
    'the proxy is in default, CONSUL_NAMESPACE another',
    {},
    { Namespace: 'default' },
    { namespace: 'team' },
    'default',
  ],
  ['CONSUL_NAMESPACE alone names one', {}, {}, { namespace: 'team' }, 'team'],
] as const) {
  test(`instances are asked for in namespace ${ns ?? '(none)'} where ${what}`, async t => {
    assert.equal(await asks(t, upstream, service, client), ns)
  })
}
