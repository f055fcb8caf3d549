import assert from 'node:assert/strict'
import test from 'node:test'
import { RegistrationReader } from '../../src/config/registration.ts'
import {
  type Instance,
  type ProxyService,
  parseInstances,
  parseProxyService,
  parseQueryResult,
} from '../../src/consul/wire.ts'
import { parseLeaf, parseTrustBundle } from '../../src/identity/identity.ts'
import { discoveryKeyOf, meshState } from '../../src/snapshot/from-consul.ts'
import { mesh } from '../support/pki.ts'
import { answerOf } from '../support/written-agent.ts'

const trust = parseTrustBundle(mesh.root.certPem)
const leaf = parseLeaf({
  certPem: mesh.web.chainPem,
  keyPem: Buffer.from(mesh.web.keyPem),
  trust,
  now: Date.now(),
})
/** As 1.8.7 answers GET /v1/agent/service/web1-sidecar-proxy. */
function service(proxy: object = {}, outer: object = {}): ProxyService {
  const whole = {
    DestinationServiceName: 'web',
    DestinationServiceID: 'web1',
    LocalServiceAddress: '127.0.0.1',
    LocalServicePort: 8080,
    Upstreams: [{ DestinationType: 'service', DestinationName: 'db', LocalBindPort: 19191, MeshGateway: {} }],
    MeshGateway: {},
    Expose: {},
    ...proxy,
  }
  return parseProxyService(
    answerOf({
      Kind: 'connect-proxy',
      ID: 'web1-sidecar-proxy',
      Port: 21000,
      Address: '',
      Proxy: whole,
      ...outer,
    }),
  )
}

const instance: Instance = {
  host: '10.0.0.1',
  port: 21001,
  service: 'db',
  namespace: 'default',
  partition: 'default',
  datacenter: 'dc1',
  weight: 2,
}

function stateOf(
  proxy: ProxyService,
  instances: readonly Instance[] = [instance],
  flags: readonly [string, unknown][] = [],
) {
  const warnings: string[] = []
  const overrides = new Map(flags.map(([name, value]) => [name, { value, where: name }]))
  const reader = new RegistrationReader(overrides, message => warnings.push(message))
  const facts = { proxy, identity: { leaf, trust }, intentions: undefined, instances: () => instances }
  return { state: meshState(facts, reader), warnings }
}

test('a registration becomes a public listener and upstreams, with the IDs that their endpoints must prove', () => {
  const { state, warnings } = stateOf(service())
  assert.deepEqual(state.inbound?.bind, { host: '0.0.0.0', port: 21000 })
  assert.deepEqual(state.inbound?.localApp, { host: '127.0.0.1', port: 8080 })
  const [upstream] = state.upstreams
  assert.deepEqual(upstream?.bind, { host: '127.0.0.1', port: 19191 })
  assert.deepEqual(
    upstream?.endpoints.map(({ expect, weight }) => [expect[0]?.uri, weight]),
    [['spiffe://mesh.test/ns/default/dc/dc1/svc/db', 2]],
  )
  assert.deepEqual(warnings, [])
})

test('until the intentions are known nobody is admitted', () => {
  const { authorization } = stateOf(service()).state.inbound ?? {}
  assert.deepEqual(authorization, { by: 'intentions', intentions: { rules: [], defaultAction: 'deny' } })
})

test('a registration may leave authorization to the agent, a flag goes before it, and a wrong word changes nothing', () => {
  const by = (value: unknown, flags: readonly [string, unknown][] = []) =>
    stateOf(service({ Config: { authorization: value } }), [], flags)
  assert.deepEqual(by('agent').state.inbound?.authorization, { by: 'agent', intentions: undefined })
  assert.equal(by('intentions').state.inbound?.authorization.by, 'intentions')
  assert.equal(by('agent', [['authorization', 'intentions']]).state.inbound?.authorization.by, 'intentions')
  assert.equal(by('intentions', [['authorization', 'agent']]).state.inbound?.authorization.by, 'agent')
  for (const wrong of ['Agent', 'allow', true, '']) {
    const { state, warnings } = by(wrong)
    assert.equal(state.inbound?.authorization.by, 'intentions')
    assert.equal(warnings.length, 1)
    assert.match(warnings[0] ?? '', /authorization: got .*, expected one of intentions, agent; the last good/)
  }
})

test('a wrong word for who authorizes leaves the last good one in force, with one warning', () => {
  const warnings: string[] = []
  const reader = new RegistrationReader(new Map(), message => warnings.push(message))
  const read = (authorization: unknown) => reader.read(['proxy.config', { authorization }]).authorization
  assert.deepEqual([read('agent'), read('agnet'), read('agnet')], ['agent', 'agent', 'agent'])
  assert.equal(warnings.length, 1)
})

test('config binds the public listener elsewhere, as Envoy does it', () => {
  const { state } = stateOf(service({ Config: { bind_address: '127.0.0.9', bind_port: '20500' } }))
  assert.deepEqual(state.inbound?.bind, { host: '127.0.0.9', port: 20500 })
})

test('a bind_port of 0 and a bind_address of nothing name none: those of the registration are taken', () => {
  const { state, warnings } = stateOf(service({ Config: { bind_address: '', bind_port: 0 } }))
  assert.deepEqual([state.inbound?.bind, warnings], [{ host: '0.0.0.0', port: 21000 }, []])
})

test('flag over registration over default; an upstream over its proxy', () => {
  const Upstreams = [{ DestinationName: 'db', LocalBindPort: 1, Config: { connect_timeout_ms: '70' } }]
  const proxy = service({ Config: { connect_timeout_ms: 500, handshake_timeout_ms: 300.0 }, Upstreams })
  const { state } = stateOf(proxy)
  assert.equal(state.upstreams[0]?.connectTimeoutMs, 70)
  assert.equal(state.inbound?.handshakeTimeoutMs, 300)
  assert.equal(state.inbound?.halfCloseTimeoutMs, 300_000)
  assert.equal(stateOf(proxy, [], [['handshake_timeout_ms', '900']]).state.inbound?.handshakeTimeoutMs, 900)
})

test('a value of a wrong type is named, and the default stays; what is of the process is not taken; the rest is not ours', () => {
  const Config = {
    handshake_timeout_ms: 'soon',
    admin: '0.0.0.0:1',
    envoy_prometheus_bind_addr: 'x',
    protocol: 'tcp',
  }
  const { state, warnings } = stateOf(service({ Config }))
  assert.equal(state.inbound?.handshakeTimeoutMs, 10_000)
  assert.equal(warnings.length, 2)
  assert.match(warnings.join('\n'), /handshake_timeout_ms: got "soon"/)
  assert.match(warnings.join('\n'), /admin belongs to the process/)
})

test('a key that every object has is not one of ours', () => {
  const { state, warnings } = stateOf(
    service({ Config: { constructor: 1, toString: 2, __proto__: 3, idle_timeout_ms: 7 } }),
  )
  assert.equal(state.inbound?.idleTimeoutMs, 7)
  assert.deepEqual(warnings, [])
})

test('an upstream that can not be served is named and left out, the others are served', () => {
  const Upstreams = [
    { DestinationName: 'a', LocalBindSocketPath: 'run/a.sock' },
    { DestinationName: 'b', LocalBindPort: 2, DestinationPeer: 'other' },
    { DestinationName: 'c', LocalBindPort: 3, Datacenter: 'dc2', MeshGateway: { Mode: 'local' } },
    { DestinationName: 'd' },
    { DestinationName: 'e', LocalBindPort: 5 },
    { DestinationName: 'f', LocalBindPort: 5 },
  ]
  const { state, warnings } = stateOf(service({ Upstreams }), [])
  assert.deepEqual(
    state.upstreams.map(({ name }) => name),
    ['e'],
  )
  assert.equal(warnings.length, 5)
})

test('an upstream on a socket is served there, with the mode that is given; what is none is named', () => {
  const Upstreams = [
    { DestinationName: 'a', LocalBindSocketPath: '/run/a.sock', LocalBindSocketMode: '0660' },
    { DestinationName: 'b', LocalBindSocketPath: '/run/b@c.sock' },
    { DestinationName: 'c', LocalBindSocketPath: '/run/a.sock' },
    { DestinationName: 'd', LocalBindSocketPath: '/run/d.sock', LocalBindSocketMode: 'rw' },
    { DestinationName: 'e', LocalBindSocketPath: '/run/app.sock' },
  ]
  const { state, warnings } = stateOf(service({ Upstreams, LocalServiceSocketPath: '/run/app.sock' }), [])
  assert.deepEqual(
    state.upstreams.map(({ name, bind, socketMode }) => [name, bind.host, socketMode]),
    [
      ['a', 'unix:/run/a.sock', 0o660],
      ['b', 'unix:/run/b@c.sock', undefined],
    ],
  )
  assert.equal(discoveryKeyOf(state.upstreams[1]?.key ?? ''), 'upstream:service:default:default:b:')
  assert.deepEqual(warnings, [
    "upstream c is not started: unix:/run/a.sock is another's",
    'upstream d is not started: LocalBindSocketMode "rw" is not a mode in octal digits',
    "upstream e is not started: LocalBindSocketPath /run/app.sock is the local application's own",
  ])
})

test('an instance whose name can not be part of an identity is left out, whoever registered it', () => {
  for (const name of ['*', 'we!b', '\ud800', '..']) {
    const Upstreams = [{ DestinationName: name, LocalBindPort: 19191 }]
    const { state, warnings } = stateOf(service({ Upstreams }), [{ ...instance, service: name }])
    assert.deepEqual(state.upstreams[0]?.endpoints, [], name)
    assert.equal(warnings.length, 1)
    assert.match(warnings[0] ?? '', /can not be part of a SPIFFE ID/)
  }
})

test('instances are read as 1.8.7 sends them, nulls and absent fields included', () => {
  const row = {
    Node: { Node: 'n1', Address: '10.1.1.1', Datacenter: 'dc1' },
    Service: {
      Kind: 'connect-proxy',
      Address: '',
      Meta: null,
      Port: 21001,
      Proxy: { DestinationServiceName: 'db' },
      Connect: {},
    },
    Checks: [],
  }
  const native = {
    ...row,
    Service: { Service: 'cache', Address: '10.1.1.2', Port: 7, Connect: { Native: true } },
  }
  const [one, two] = parseInstances(answerOf([row, native]))
  assert.deepEqual([one?.host, one?.service, one?.weight], ['10.1.1.1', 'db', 1])
  assert.deepEqual([two?.host, two?.service], ['10.1.1.2', 'cache'])
  assert.deepEqual(parseInstances(answerOf(null)), [])
  assert.equal(
    parseInstances(answerOf([1, row, { ...row, Service: { ...row.Service, Port: 99_999 } }])).length,
    1,
    'odd rows are left out',
  )
  for (const body of ['no JSON', [1], [{ Service: {} }]])
    assert.throws(() => parseInstances(answerOf(body)), { code: 'agent_answer' })
})

test('a service that is no proxy is refused', () => {
  assert.throws(() => service({}, { Kind: '' }), { code: 'agent_answer' })
})

test('an instance of a service that differs in case is left out and named: the catalog finds it, ACLs tell them apart', () => {
  const other = { ...instance, host: '10.0.0.66', service: 'DB' }
  const { state, warnings } = stateOf(service(), [instance, other])
  assert.deepEqual(
    state.upstreams[0]?.endpoints.map(({ address, expect }) => [address.host, expect.map(id => id.uri)]),
    [['10.0.0.1', ['spiffe://mesh.test/ns/default/dc/dc1/svc/db']]],
  )
  assert.equal(warnings.length, 1)
  assert.match(warnings[0] ?? '', /^upstream "db": .*10\.0\.0\.66:21001.* got one of "DB"/)
})

test('of the rows of a prepared query only those of its own service are instances', () => {
  const row = (name: string, port: number) => ({
    Node: { Address: '10.0.0.1', Datacenter: 'dc1' },
    Service: { Port: port, Proxy: { DestinationServiceName: name } },
  })
  const { instances } = parseQueryResult(
    answerOf({ Service: 'db', Nodes: [row('db', 1), row('DB', 2), row('db', 3)] }),
  )
  assert.deepEqual(
    instances.map(({ port }) => port),
    [1, 3],
  )
})
