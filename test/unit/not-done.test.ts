import assert from 'node:assert/strict'
import test from 'node:test'
import { RegistrationReader } from '../../src/config/registration.ts'
import { parseChain } from '../../src/consul/chain-follower.ts'
import { type ProxyService, parseProxyService } from '../../src/consul/wire.ts'
import { parseLeaf, parseTrustBundle } from '../../src/identity/identity.ts'
import { meshState, startable } from '../../src/snapshot/from-consul.ts'
import { mesh } from '../support/pki.ts'
import { answerOf } from '../support/written-agent.ts'

const trust = parseTrustBundle(mesh.root.certPem)
const leaf = parseLeaf({
  certPem: mesh.web.chainPem,
  keyPem: Buffer.from(mesh.web.keyPem),
  trust,
  now: Date.now(),
})

function service(proxy: object, outer: object = {}): ProxyService {
  const registered = { DestinationServiceName: 'web', LocalServicePort: 8080, ...proxy }
  return parseProxyService(
    answerOf({ Kind: 'connect-proxy', ID: 'web1', Port: 21000, Proxy: registered, ...outer }),
  )
}

function readerWith(...flags: readonly string[]): RegistrationReader {
  return new RegistrationReader(new Map(flags.map(name => [name, { value: true, where: name }])), () => {})
}

function stateOf(proxy: ProxyService, reader = readerWith()) {
  reader.notices.begin()
  const facts = { proxy, identity: { leaf, trust }, intentions: undefined, instances: () => [] }
  const state = meshState(facts, reader)
  return {
    inbound: state.inbound,
    upstreams: state.upstreams.map(({ name }) => name),
    notices: reader.notices.list(),
  }
}

const upstream = { DestinationName: 'db', LocalBindPort: 9191 }

for (const [what, proxy, expected] of [
  ['transparent mode', { Mode: 'transparent' }, /Proxy\.Mode transparent/],
  ['checks to expose', { Expose: { Checks: true } }, /Proxy\.Expose\.Checks/],
  ['paths to expose', { Expose: { Paths: [{ Path: '/health' }] } }, /Proxy\.Expose\.Paths: none of the 1/],
  ['a setting of the process', { Config: { admin: ':1' } }, /proxy\.config: admin belongs to the process/],
  ['an unsafe setting', { Config: { unsafe_new: true } }, /unsafe_new belongs to the process/],
  ["the agent's token", { Config: { token: 'x' } }, /proxy\.config: token belongs to the process/],
] as const) {
  test(`a registration that asks for ${what} is told so by the key's name, and served otherwise`, () => {
    const { notices, inbound, upstreams } = stateOf(service({ Upstreams: [upstream], ...proxy }))
    assert.equal(notices.length, 1)
    assert.match(notices[0] ?? '', expected)
    assert.ok(inbound !== undefined)
    assert.deepEqual(upstreams, ['db'])
  })
}

test('a registration that asks for nothing else is told nothing', () => {
  const plain = { Mode: 'direct', Expose: {}, MeshGateway: {}, Config: { drain: 5, protocol: 'tcp' } }
  assert.deepEqual(stateOf(service({ Upstreams: [upstream], ...plain })).notices, [])
})

test('what is not asked for any more is not listed any more, and not said again', () => {
  const said: string[] = []
  const reader = new RegistrationReader(new Map(), message => said.push(message))
  assert.equal(stateOf(service({ Mode: 'transparent' }), reader).notices.length, 1)
  assert.equal(stateOf(service({}), reader).notices.length, 0)
  assert.equal(stateOf(service({ Mode: 'transparent' }), reader).notices.length, 1)
  assert.equal(said.length, 1)
})

test('an upstream beyond loopback is served only where the operator allows it', () => {
  const open = service({ Upstreams: [{ ...upstream, LocalBindAddress: '0.0.0.0' }] })
  const refused = stateOf(open)
  assert.deepEqual(refused.upstreams, [])
  assert.match(refused.notices.join(), /--unsafe-upstream-bind/)
  const inConfig = service({
    Upstreams: [{ ...upstream, LocalBindAddress: '0.0.0.0' }],
    Config: { unsafe_upstream_bind: true },
  })
  assert.deepEqual(stateOf(inConfig).upstreams, [], 'a registration can not allow it')
  const allowed = stateOf(open, readerWith('unsafe_upstream_bind'))
  assert.deepEqual([allowed.upstreams, allowed.notices], [['db'], []])
})

test('a local app beyond loopback is served only where the operator allows it', () => {
  const elsewhere = service({ LocalServiceAddress: '10.0.0.7' })
  const refused = stateOf(elsewhere)
  assert.equal(refused.inbound, undefined)
  assert.match(refused.notices.join(), /--unsafe-local-service/)
  assert.equal(stateOf(elsewhere, readerWith('unsafe_local_service')).inbound?.localApp.host, '10.0.0.7')
})

test('a local app on a socket is served; no absolute path is named, and no public listener is started', () => {
  const local = stateOf(service({ LocalServiceSocketPath: '/run/web.sock', LocalServicePort: 0 }))
  assert.deepEqual(local.inbound?.localApp, { host: 'unix:/run/web.sock', port: 0 })
  assert.deepEqual(local.notices, [])
  for (const path of ['web.sock', '/run/', `/${'x'.repeat(107)}`]) {
    const refused = stateOf(service({ LocalServiceSocketPath: path, LocalServicePort: 0 }))
    assert.equal(refused.inbound, undefined)
    assert.match(
      refused.notices.join(),
      /LocalServiceSocketPath .* is not an absolute path of at most 107 bytes/,
    )
  }
})

test('the proxy itself on a socket is named, and no public listener is started', () => {
  const own = stateOf(service({}, { SocketPath: '/run/proxy.sock' }))
  assert.equal(own.inbound, undefined)
  assert.match(own.notices.join(), /SocketPath/)
})

test('a gateway is needed on the way to another datacenter only', () => {
  const away = { ...upstream, DestinationName: 'away', LocalBindPort: 9192, Datacenter: 'dc2' }
  const here = { ...upstream, DestinationName: 'here', LocalBindPort: 9193, Datacenter: 'dc1' }
  const direct = { ...away, DestinationName: 'direct', LocalBindPort: 9194, MeshGateway: { Mode: 'none' } }
  const { upstreams, notices } = stateOf(
    service({ Upstreams: [upstream, away, here, direct], MeshGateway: { Mode: 'local' } }),
  )
  assert.deepEqual(upstreams, ['db', 'here', 'direct'])
  assert.match(notices.join(), /upstream away is not started: MeshGateway\.Mode local/)
})

test('nothing is said of a gateway before our own datacenter is known, and nothing then within it', () => {
  const reader = readerWith()
  const here = { ...upstream, DestinationName: 'here', LocalBindPort: 9193, Datacenter: 'dc1' }
  const odd = { ...upstream, DestinationName: 'odd', LocalBindPort: 0 }
  const proxy = service({ Upstreams: [here, odd], MeshGateway: { Mode: 'local' } })
  reader.notices.begin()
  assert.deepEqual(startable(proxy, { reader, datacenter: undefined }), [])
  assert.deepEqual(reader.notices.list(), ['upstream odd is not started: it has no LocalBindPort'])
  assert.deepEqual(
    startable(proxy, { reader, datacenter: 'dc1' }).map(({ name }) => name),
    ['here'],
  )
  assert.doesNotMatch(reader.notices.list().join(), /here/)
})

const resolver = {
  Type: 'resolver',
  Name: 'db.default.dc1',
  Resolver: { Default: true, Target: 'db.default.dc1' },
}
const target = { ID: 'db.default.dc1', Service: 'db', Namespace: 'default', Datacenter: 'dc1' }
function chainOf(nodes: object, targets: object = { 'db.default.dc1': target }) {
  const Chain = { ServiceName: 'db', Datacenter: 'dc1', Protocol: 'tcp', Nodes: nodes, Targets: targets }
  return parseChain(answerOf({ Chain }))
}

test('a discovery chain of its own service asks for nothing', () => {
  assert.deepEqual(chainOf({ 'resolver:db.default.dc1': resolver }), [])
})

for (const [what, nodes, targets, expected] of [
  ['a splitter', { s: { Type: 'splitter', Splits: [] }, r: resolver }, undefined, ['service-splitter']],
  ['a router', { s: { Type: 'router', Routes: [] }, r: resolver }, undefined, ['service-router']],
  [
    'a redirect to another service',
    { r: resolver },
    { 'db.default.dc1': { ...target, Service: 'db2' } },
    ['service-resolver Redirect'],
  ],
  [
    'a redirect to another datacenter',
    { r: resolver },
    { 'db.default.dc1': { ...target, Datacenter: 'dc2' } },
    ['service-resolver Redirect'],
  ],
  [
    'a failover',
    { r: { ...resolver, Resolver: { ...resolver.Resolver, Failover: { Targets: ['x'] } } } },
    undefined,
    ['service-resolver Failover'],
  ],
  [
    'a subset',
    { r: resolver },
    { 'db.default.dc1': { ...target, ServiceSubset: 'v2' } },
    ['service-resolver subset v2'],
  ],
] as const) {
  test(`a discovery chain with ${what} asks for it`, () => {
    assert.deepEqual(chainOf(nodes, targets), expected)
  })
}
