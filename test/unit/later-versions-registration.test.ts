// What Consul 1.10 to 1.20 put into the registration of a proxy: what can be done is done, the rest is named once and left out.
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { Era, type Member } from '../support/consul-eras.ts'
import { RunningMesh } from '../support/running-mesh.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'
import { paths, tellServices } from '../support/written-services.ts'

const db: Member = { id: 'db1', name: 'db', publicPort: 21_001, appPort: 9_090 }

async function start(t: TestContext, more: Partial<Member>, era = new Era(20)) {
  const agent = await startWrittenMesh(t, era.options)
  const web: Member = { id: 'web1', name: 'web', publicPort: 21_000, appPort: 8_080, ...more }
  await tellServices(agent, era, [web, db])
  const running = new RunningMesh(t, agent, 'web1-sidecar-proxy')
  // Ready or not: a public listener that can not be opened is what it is told of.
  await until(() => running.last, 'a state')
  /** The registration anew, with another port. */
  const again = async () => {
    const before = agent.askedFor(paths.proxy('web1')).length
    agent.say(paths.proxy('web1'), {
      by: 'hash',
      body: era.registration({ ...web, publicPort: 21_009 }),
    })
    await until(
      () => agent.askedFor(paths.proxy('web1')).length > before,
      'the registration to be read again',
    )
  }
  return { agent, running, again }
}

// api/agent.go, AgentServiceConnectProxyConfig: Mode, TransparentProxy, LocalServiceSocketPath (1.10), AccessLogs (1.14),
// EnvoyExtensions (1.15); AgentService: SocketPath (1.10), Locality (1.16).
for (const [what, more, named] of [
  ['Mode direct', { proxy: { Mode: 'direct' } }, undefined],
  [
    'Mode transparent',
    { proxy: { Mode: 'transparent', TransparentProxy: { OutboundListenerPort: 15_001 } } },
    /Proxy\.Mode transparent/,
  ],
  ['exposed checks', { proxy: { Expose: { Checks: true } } }, /Proxy\.Expose\./],
  [
    'exposed paths',
    { proxy: { Expose: { Paths: [{ ListenerPort: 1, Path: '/m', LocalPathPort: 2 }] } } },
    /Proxy\.Expose\./,
  ],
  ['access logs of Envoy', { proxy: { AccessLogs: { Enabled: true, Type: 'stdout' } } }, /Proxy\.AccessLogs/],
  ['access logs that are off', { proxy: { AccessLogs: { DisableListenerLogs: true } } }, undefined],
  [
    'extensions of Envoy',
    { proxy: { EnvoyExtensions: [{ Name: 'builtin/lua', Required: false, Arguments: {} }] } },
    /Proxy\.EnvoyExtensions/,
  ],
  [
    'a null for each list and map',
    {
      proxy: {
        Upstreams: null,
        Config: null,
        EnvoyExtensions: null,
        AccessLogs: null,
        Expose: null,
        MeshGateway: null,
      },
      service: { Meta: null, Tags: null, TaggedAddresses: null },
    },
    undefined,
  ],
  ['no Weights and no Locality', { service: { Weights: undefined, Locality: null } }, undefined],
  [
    'fields that nobody has heard of',
    { proxy: { Tomorrow: [{}] }, service: { Ports: [{ Port: 1 }], PeerName: '' } },
    undefined,
  ],
] as const) {
  test(`${what}: the public listener is served, and ${named === undefined ? 'nothing' : 'one line'} is said`, async t => {
    const { running } = await start(t, more)
    assert.deepEqual(running.last?.inbound?.bind, { host: '0.0.0.0', port: 21_000 })
    assert.equal(running.warnings.length, named === undefined ? 0 : 1, running.warnings.join('\n'))
    if (named !== undefined) assert.match(running.warnings[0] ?? '', named)
  })
}

for (const [what, more, named] of [
  [
    'the proxy itself on a socket (1.10)',
    { service: { SocketPath: '/run/p.sock', Port: undefined } },
    /SocketPath/,
  ],
] as const) {
  test(`${what} is named, once, and the upstreams are served`, async t => {
    const era = new Era(20)
    const { running } = await start(t, { ...more, upstreams: [era.upstream('db', 19_191)] })
    assert.equal(running.last?.inbound, undefined)
    await until(() => running.last?.upstreams[0]?.endpoints.length === 1, 'db')
    assert.equal(running.warnings.length, 1, running.warnings.join('\n'))
    assert.match(running.warnings[0] ?? '', named)
  })
}

// agent/structs/connect_proxy_config.go, Upstream. CentrallyConfigured is the agent's own in api.Upstream, yet a name of `*` without a
// port (defaults of service-defaults, 1.10) is encoded like any other.
for (const [what, upstream, named] of [
  ['DestinationPeer (1.13)', { DestinationPeer: 'cluster-02', LocalBindPort: 19_192 }, /DestinationPeer/],
  [
    'DestinationPartition (1.11)',
    { DestinationPartition: 'edge', LocalBindPort: 19_192 },
    /DestinationPartition/,
  ],
  ['no port, as central configuration makes it (1.10)', { CentrallyConfigured: true }, /LocalBindPort/],
  ['a type that is not known', { DestinationType: 'tomorrow', LocalBindPort: 19_192 }, /tomorrow/],
] as const) {
  test(`an upstream with ${what} is named, once, and left out; the other one is served`, async t => {
    const era = new Era(20)
    const odd = { DestinationType: 'service', DestinationName: 'odd', MeshGateway: {}, ...upstream }
    const { running, agent } = await start(t, { upstreams: [odd, era.upstream('db', 19_191)] })
    await until(() => running.last?.upstreams[0]?.endpoints.length === 1, 'db')
    assert.deepEqual(
      running.last?.upstreams.map(({ name }) => name),
      ['db'],
    )
    assert.equal(running.warnings.length, 1, running.warnings.join('\n'))
    assert.match(running.warnings[0] ?? '', named)
    assert.equal(agent.askedFor(paths.health('odd')).length, 0)
  })
}

test('an app and an upstream on sockets (1.10) are served there, and nothing is said', async t => {
  const era = new Era(20)
  const { running } = await start(t, {
    proxy: { LocalServiceSocketPath: '/run/app.sock', LocalServicePort: undefined },
    upstreams: [
      { ...era.upstream('db', 0), LocalBindSocketPath: '/run/u.sock', LocalBindSocketMode: '0666' },
    ],
  })
  await until(() => running.last?.upstreams[0]?.endpoints.length === 1, 'db')
  assert.equal(running.last?.inbound?.localApp.host, 'unix:/run/app.sock')
  assert.equal(running.last?.upstreams[0]?.bind.host, 'unix:/run/u.sock')
  assert.equal(running.last?.upstreams[0]?.socketMode, 0o666)
  assert.deepEqual(running.warnings, [])
})

test('the defaults for all upstreams, a name of * without a port (1.10), are none and nothing is said of them', async t => {
  const era = new Era(16)
  const defaults = { DestinationName: '*', Config: { connect_timeout_ms: 5_000 }, MeshGateway: {} }
  const { running } = await start(t, { upstreams: [defaults, era.upstream('db', 19_191)] }, era)
  assert.deepEqual(
    running.last?.upstreams.map(({ name }) => name),
    ['db'],
  )
  assert.deepEqual(running.warnings, [])
})

test('partitions and peers that are the default ones are no reason to leave an upstream out', async t => {
  const named = {
    ...new Era(20).upstream('db', 19_191),
    DestinationPartition: 'default',
    DestinationPeer: '',
    LocalBindSocketPath: '',
  }
  const { running } = await start(t, { upstreams: [named] })
  assert.equal(running.last?.upstreams.length, 1)
  assert.deepEqual(running.warnings, [])
})

test('what is not supported is not said again for each change of the registration', async t => {
  const { running, again } = await start(t, { proxy: { Mode: 'transparent', Expose: { Checks: true } } })
  await again()
  await until(() => running.last?.inbound?.bind.port === 21_009, 'the change')
  assert.equal(running.warnings.length, 2, running.warnings.join('\n'))
})
