import assert from 'node:assert/strict'
import http from 'node:http'
import test from 'node:test'
import { openAgent } from '../support/embedded-agent.ts'
import { until } from '../support/until.ts'

const register = '/v1/agent/service/register'
const db = { ID: 'db1', Name: 'db', Port: 9090 }
const indexOf = (headers: Headers) => Number(headers.get('x-consul-index'))

test('a registration with a sidecar is told back as Consul does', async t => {
  const { call } = await openAgent(t)
  const answer = await call('PUT', register, {
    ...{ ID: 'web1', Name: 'web', Port: 8080, Tags: ['v1'], Meta: { m: '1' } },
    Connect: {
      SidecarService: {
        Proxy: {
          Config: { handshake_timeout_ms: 1000 },
          Upstreams: [
            { DestinationName: 'db', LocalBindPort: 19191 },
            { DestinationType: 'prepared_query', DestinationName: 'near-db', LocalBindPort: 19192 },
          ],
        },
      },
    },
  })
  assert.deepEqual([answer.status, answer.text], [200, ''])
  const told = await call('GET', '/v1/agent/service/web1-sidecar-proxy')
  const { ContentHash, ...body } = told.json<{ ContentHash: string }>()
  assert.equal(told.headers.get('x-consul-contenthash'), ContentHash)
  assert.deepEqual(body, {
    Kind: 'connect-proxy',
    ID: 'web1-sidecar-proxy',
    Service: 'web-sidecar-proxy',
    Tags: ['v1'],
    Meta: { m: '1' },
    Port: 21_000,
    Address: '',
    Weights: { Passing: 1, Warning: 1 },
    EnableTagOverride: false,
    Proxy: {
      DestinationServiceName: 'web',
      DestinationServiceID: 'web1',
      LocalServiceAddress: '127.0.0.1',
      LocalServicePort: 8080,
      Config: { handshake_timeout_ms: 1000 },
      Upstreams: [
        { DestinationType: 'service', DestinationName: 'db', LocalBindPort: 19_191, MeshGateway: {} },
        {
          DestinationType: 'prepared_query',
          DestinationName: 'near-db',
          LocalBindPort: 19_192,
          MeshGateway: {},
        },
      ],
      MeshGateway: {},
      Expose: {},
    },
  })
})

test('keys are taken in either spelling, and both give the same', async t => {
  const { call } = await openAgent(t)
  await call('PUT', register, {
    name: 'db',
    port: 9090,
    connect: { sidecar_service: { proxy: { local_service_port: 1 } } },
  })
  const snake = (await call('GET', '/v1/agent/services')).json<Record<string, object>>()
  await call('PUT', register, {
    Name: 'db',
    Port: 9090,
    Connect: { SidecarService: { Proxy: { LocalServicePort: 1 } } },
  })
  assert.deepEqual((await call('GET', '/v1/agent/services')).json(), snake)
  assert.deepEqual(Object.keys(snake), ['db', 'db-sidecar-proxy'])
})

for (const [what, body, status, text] of [
  ['an unknown key', { Name: 'x', Nope: 1 }, 400, /json: unknown field "Nope"/],
  [
    'an unknown key within',
    { Name: 'x', Connect: { SidecarService: { Nope: 1 } } },
    400,
    /unknown field "Nope"/,
  ],
  ['a key of 1.2', { Name: 'x', Kind: 'connect-proxy', ProxyDestination: 'y' }, 400, /"ProxyDestination"/],
  ['a value of another type', { Name: 'x', Port: 'eight' }, 400, /cannot unmarshal .*Port.*integer/],
  ['no name', {}, 400, /Missing service name/],
  ['half a body', '{"Name":', 400, /not JSON/],
  ['nothing', '', 400, /EOF/],
  ['a list', [], 400, /cannot unmarshal/],
  ['a port that is none', { Name: 'x', Port: 70_000 }, 400, /Port/],
  [
    'a proxy without a destination',
    { Name: 'x', Kind: 'connect-proxy', Port: 1, Proxy: {} },
    400,
    /DestinationServiceName must be non-empty/,
  ],
  [
    'a proxy without a port',
    { Name: 'x', Kind: 'connect-proxy', Proxy: { DestinationServiceName: 'y' } },
    400,
    /Port must be set/,
  ],
  [
    'an upstream without a port',
    { Name: 'x', Connect: { SidecarService: { Proxy: { Upstreams: [{ DestinationName: 'y' }] } } } },
    400,
    /local bind port cannot be zero/,
  ],
  [
    'a sidecar within a sidecar',
    { Name: 'x', Connect: { SidecarService: { Connect: { SidecarService: {} } } } },
    400,
    /expected nothing within a sidecar/,
  ],
  [
    'a check by a program',
    { Name: 'x', Check: { Args: ['/bin/true'], Interval: '1s' } },
    400,
    /Args is not supported/,
  ],
  ['a managed proxy', { Name: 'x', Connect: { Proxy: {} } }, 400, /allow_managed_api_registration/],
  ['a megabyte', { Name: 'x', Meta: { m: 'x'.repeat(1_048_576) } }, 413, /too large/],
  ['depth', `${'{"Connect":'.repeat(5_000)}1${'}'.repeat(5_000)}`, 400, /./],
] as const) {
  test(`a registration of ${what} is refused by ${status}, without a stack, and nothing is registered`, async t => {
    const { call, log } = await openAgent(t)
    const answer = await call('PUT', register, body)
    assert.equal(answer.status, status, answer.text)
    assert.match(answer.text, text)
    assert.doesNotMatch(answer.text, / at .*\.(ts|js)/)
    assert.deepEqual((await call('GET', '/v1/agent/services')).json(), {})
    assert.deepEqual(
      log.filter(line => line.startsWith('error')),
      [],
    )
  })
}

test('another method is refused by name, another path plainly', async t => {
  const { call } = await openAgent(t)
  const wrong = await call('GET', '/v1/agent/connect/authorize')
  assert.deepEqual([wrong.status, wrong.headers.get('allow')], [405, 'POST'])
  assert.equal((await call('GET', '/v1/kv/x')).status, 404)
  assert.equal((await call('GET', '/v1/agent/service/%zz')).status, 400)
})

test('a question by index is answered once what it asks about changes, and by nothing else', async t => {
  const { call, world } = await openAgent(t)
  const first = await call('GET', '/v1/health/connect/db')
  assert.deepEqual(first.json(), [])
  let answered = false
  const blocked = call('GET', `/v1/health/connect/db?index=${indexOf(first.headers)}&wait=60s`).then(
    answer => {
      answered = true
      return answer
    },
  )
  await until(() => world.state.waiting > 1, 'the call to wait')
  await call('PUT', register, { Name: 'api', Port: 1, Connect: { SidecarService: {} } })
  await call('POST', '/v1/connect/intentions', { SourceName: 'a', DestinationName: 'b', Action: 'deny' })
  assert.equal(answered, false)
  await call('PUT', register, { ...db, Connect: { SidecarService: {} } })
  const answer = await blocked
  assert.equal(answer.json<{ Service: { ID: string } }[]>()[0]?.Service.ID, 'db1-sidecar-proxy')
  assert.ok(indexOf(answer.headers) > indexOf(first.headers))
})

test('a question by index is answered after its time with the same index, and at once where the index is behind', async t => {
  const { call } = await openAgent(t)
  const index = indexOf((await call('GET', '/v1/connect/intentions')).headers)
  const timed = await call('GET', `/v1/connect/intentions?index=${index}&wait=50ms`)
  assert.equal(indexOf(timed.headers), index)
  assert.equal(
    indexOf((await call('GET', `/v1/connect/intentions?index=${index - 1}&wait=10m`)).headers),
    index,
  )
})

for (const [query, text] of [
  ['index=x', 'Invalid index'],
  ['index=-1', 'Invalid index'],
  ['index=5&wait=soon', 'Invalid wait time'],
] as const) {
  test(`?${query} is refused`, async t => {
    const { call } = await openAgent(t)
    const answer = await call('GET', `/v1/connect/intentions?${query}`)
    assert.deepEqual([answer.status, answer.text], [400, text])
  })
}

test('whoever goes away while a call blocks is waited for no longer', async t => {
  const { call, world } = await openAgent(t)
  const resting = world.state.waiting
  const index = indexOf((await call('GET', '/v1/connect/intentions')).headers)
  const gone = new AbortController()
  const blocked = call('GET', `/v1/connect/intentions?index=${index}&wait=10m`, undefined, {
    signal: gone.signal,
  })
  await until(() => world.state.waiting === resting + 1, 'the call to wait')
  gone.abort()
  await assert.rejects(blocked)
  await until(() => world.state.waiting === resting, 'the wait to end')
})

test('a question by hash is answered once the registration changes, and by 404 once it goes', async t => {
  const { call, world } = await openAgent(t)
  await call('PUT', register, db)
  const { ContentHash } = (await call('GET', '/v1/agent/service/db1')).json<{ ContentHash: string }>()
  const resting = world.state.waiting
  const changed = call('GET', `/v1/agent/service/db1?hash=${ContentHash}`)
  await until(() => world.state.waiting === resting + 1, 'the call to wait')
  await call('PUT', register, db)
  await call('PUT', register, { ...db, Port: 9091 })
  const next = (await changed).json<{ ContentHash: string; Port: number }>()
  assert.equal(next.Port, 9091)
  const gone = call('GET', `/v1/agent/service/db1?hash=${next.ContentHash}`)
  await until(() => world.state.waiting === resting + 1, 'the call to wait')
  await call('PUT', '/v1/agent/service/deregister/db1')
  const last = await gone
  assert.deepEqual([last.status, last.text], [404, 'unknown service ID: db1'])
})

test('a service that goes takes its sidecar and its checks along', async t => {
  const { call } = await openAgent(t)
  await call('PUT', register, { ...db, Check: { TTL: '1h' }, Connect: { SidecarService: {} } })
  assert.equal(Object.keys((await call('GET', '/v1/agent/checks')).json()).length, 3)
  await call('PUT', '/v1/agent/service/deregister/db1')
  assert.deepEqual((await call('GET', '/v1/agent/services')).json(), {})
  assert.deepEqual((await call('GET', '/v1/agent/checks')).json(), {})
})

test('a sidecar that is registered again keeps its port, one that its service no longer asks for goes', async t => {
  const { call } = await openAgent(t)
  const portOf = async (id: string) =>
    (await call('GET', '/v1/agent/services')).json<Record<string, { Port: number }>>()[id]?.Port
  await call('PUT', register, { ...db, Connect: { SidecarService: {} } })
  await call('PUT', register, { Name: 'api', Port: 1, Connect: { SidecarService: {} } })
  assert.deepEqual([await portOf('db1-sidecar-proxy'), await portOf('api-sidecar-proxy')], [21_000, 21_001])
  await call('PUT', register, { ...db, Tags: ['v2'], Connect: { SidecarService: {} } })
  assert.equal(await portOf('db1-sidecar-proxy'), 21_000)
  await call('PUT', register, db)
  assert.equal(await portOf('db1-sidecar-proxy'), undefined)
})

test('intentions decide by precedence, and the reason names the one that did', async t => {
  const { call } = await openAgent(t)
  const make = (SourceName: string, DestinationName: string, Action: string) =>
    call('POST', '/v1/connect/intentions', { SourceName, DestinationName, Action })
  const { TrustDomain } = (await call('GET', '/v1/agent/connect/ca/roots')).json<{ TrustDomain: string }>()
  const ask = async (source: string) =>
    (
      await call('POST', '/v1/agent/connect/authorize', {
        Target: 'db',
        ClientCertURI: `spiffe://${TrustDomain}/ns/default/dc/dc1/svc/${source}`,
      })
    ).json<{ Authorized: boolean; Reason: string }>()
  assert.deepEqual(await ask('web'), {
    Authorized: true,
    Reason: 'ACLs disabled, access is allowed by default',
  })
  await make('*', '*', 'deny')
  await make('web', 'db', 'allow')
  const web = await ask('web')
  assert.ok(web.Authorized)
  assert.match(web.Reason, /^Matched intention: ALLOW default\/web => default\/db \(ID: .*, Precedence: 9\)$/)
  assert.equal((await ask('api')).Authorized, false)
  const twice = await make('web', 'db', 'deny')
  assert.deepEqual([twice.status, /^duplicate intention found/.test(twice.text)], [500, true])
  const matched = (await call('GET', '/v1/connect/intentions/match?by=destination&name=db')).json<{
    db: { Precedence: number }[]
  }>()
  assert.deepEqual(
    matched.db.map(row => row.Precedence),
    [9, 5],
  )
})

test('/exact makes, changes, reads and deletes by the two names', async t => {
  const { call } = await openAgent(t)
  const path = '/v1/connect/intentions/exact?source=web&destination=db'
  assert.equal((await call('GET', path)).status, 404)
  await call('PUT', path, { Action: 'deny' })
  await call('PUT', path, { Action: 'allow' })
  assert.equal((await call('GET', path)).json<{ Action: string }>().Action, 'allow')
  assert.equal((await call('DELETE', path)).text, 'true')
  assert.deepEqual((await call('GET', '/v1/connect/intentions')).json(), [])
})

test('a port that a proxy is to bind for an upstream is given to nobody', async t => {
  const { call } = await openAgent(t)
  const Upstreams = [{ DestinationName: 'db', LocalBindPort: 21_001 }]
  await call('PUT', register, { Name: 'web', Port: 1, Connect: { SidecarService: { Proxy: { Upstreams } } } })
  await call('PUT', register, { ...db, Connect: { SidecarService: {} } })
  const services = (await call('GET', '/v1/agent/services')).json<Record<string, { Port: number }>>()
  assert.deepEqual(
    [services['web-sidecar-proxy']?.Port, services['db1-sidecar-proxy']?.Port],
    [21_000, 21_002],
  )
})

test('a web page gets no answer, by its origin or by a name of its own; a program does', async t => {
  const { origin, call } = await openAgent(t)
  const { hostname, port } = new URL(origin)
  const statusOf = (headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      const request = http.request(
        { hostname, port, method: 'POST', path: '/v1/connect/intentions', headers },
        response => {
          response.resume()
          resolve(response.statusCode)
        },
      )
      request.on('error', reject)
      request.end(JSON.stringify({ SourceName: 'a', DestinationName: 'b', Action: 'allow' }))
    })
  for (const headers of [
    { origin: 'http://evil.example', 'content-type': 'text/plain' },
    { 'sec-fetch-site': 'cross-site' },
    { host: `evil.example:${port}` },
  ])
    assert.equal(await statusOf(headers as Record<string, string>), 403, JSON.stringify(headers))
  assert.deepEqual((await call('GET', '/v1/connect/intentions')).json(), [])
  assert.equal(await statusOf({ host: `localhost:${port}` }), 200)
})

for (const [path, change] of [
  [
    '/v1/connect/intentions',
    ['POST', '/v1/connect/intentions', { SourceName: 'a', DestinationName: 'b', Action: 'deny' }],
  ],
  [
    '/v1/connect/intentions/match?by=destination&name=b',
    ['POST', '/v1/connect/intentions', { SourceName: 'a', DestinationName: 'b', Action: 'deny' }],
  ],
  ['/v1/catalog/services', ['PUT', register, db]],
  ['/v1/catalog/service/db', ['PUT', register, db]],
  ['/v1/health/service/db', ['PUT', register, db]],
  ['/v1/health/checks/db', ['PUT', register, { ...db, Check: { TTL: '1h' } }]],
  ['/v1/query', ['POST', '/v1/query', { Name: 'q', Service: { Service: 'db' } }]],
  [
    '/v1/health/connect/db',
    ['PUT', register, { Name: 'x', Kind: 'connect-proxy', Port: 1, Proxy: { DestinationServiceName: 'db' } }],
  ],
] as const satisfies readonly (readonly [string, readonly [string, string, object]])[]) {
  test(`who waits at ${path} hears of what changes it`, async t => {
    const { call, world } = await openAgent(t)
    const before = await call('GET', path)
    const resting = world.state.waiting
    const more = path.includes('?') ? '&' : '?'
    const blocked = call('GET', `${path}${more}index=${indexOf(before.headers)}&wait=10m`)
    await until(() => world.state.waiting === resting + 1, 'the call to wait')
    const [method, target, body] = change
    await call(method, target, body)
    const after = await blocked
    assert.notEqual(after.text, before.text)
    assert.ok(indexOf(after.headers) > indexOf(before.headers))
  })
}

test('who waits for roots or a leaf hears of a rotation', async t => {
  const { call, world } = await openAgent(t)
  const roots = await call('GET', '/v1/agent/connect/ca/roots')
  const leaf = await call('GET', '/v1/agent/connect/ca/leaf/web')
  const resting = world.state.waiting
  const both = Promise.all([
    call('GET', `/v1/agent/connect/ca/roots?index=${indexOf(roots.headers)}&wait=10m`),
    call('GET', `/v1/agent/connect/ca/leaf/web?index=${indexOf(leaf.headers)}&wait=10m`),
  ])
  await until(() => world.state.waiting === resting + 2, 'the calls to wait')
  await world.authority.rotate()
  const [next, renewed] = await both
  assert.equal(next.json<{ Roots: object[] }>().Roots.length, 2)
  assert.equal(renewed.json<{ CertPEM: string }>().CertPEM.match(/BEGIN CERTIFICATE/g)?.length, 2)
})
