import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { openAgent } from '../support/embedded-agent.ts'
import { until } from '../support/until.ts'

const register = '/v1/agent/service/register'

async function openDenying(t: TestContext) {
  const opened = await openAgent(t, { acl: { enabled: true } })
  const { SecretID: root } = (await opened.call('PUT', '/v1/acl/bootstrap')).json<{ SecretID: string }>()
  const identity = async (ServiceName: string) =>
    (
      await opened.call('PUT', '/v1/acl/token', { ServiceIdentities: [{ ServiceName }] }, { token: root })
    ).json<{
      SecretID: string
      AccessorID: string
    }>()
  return { ...opened, root, identity }
}

test('bootstrapping works once, and what it gives may do everything', async t => {
  const { call, root } = await openDenying(t)
  assert.equal((await call('PUT', '/v1/acl/bootstrap')).status, 403)
  assert.equal((await call('PUT', register, { Name: 'web', Port: 1 }, { token: root })).status, 200)
})

test('without a token there is the roots, and nothing else', async t => {
  const { call, root } = await openDenying(t)
  await call('PUT', register, { Name: 'web', Port: 1, Connect: { SidecarService: {} } }, { token: root })
  await call(
    'POST',
    '/v1/connect/intentions',
    { SourceName: 'a', DestinationName: 'web', Action: 'deny' },
    { token: root },
  )
  assert.equal((await call('GET', '/v1/agent/connect/ca/roots')).status, 200)
  for (const path of [
    '/v1/agent/connect/ca/leaf/web',
    '/v1/agent/self',
    '/v1/connect/ca/configuration',
    '/v1/acl/tokens',
  ])
    assert.equal((await call('GET', path)).status, 403, path)
  for (const path of ['/v1/health/connect/web', '/v1/catalog/service/web']) {
    const answer = await call('GET', path)
    // The tell-tale of missing rights.
    assert.deepEqual(
      [answer.status, answer.text, answer.headers.get('x-consul-index')],
      [200, '[]', '1'],
      path,
    )
  }
  assert.deepEqual((await call('GET', '/v1/connect/intentions')).json(), [])
  assert.deepEqual((await call('GET', '/v1/agent/services')).json(), {})
  assert.equal((await call('GET', '/v1/connect/intentions/match?by=destination&name=web')).status, 403)
  const unknown = await call('GET', '/v1/agent/services', undefined, { token: 'nobody knows it' })
  assert.deepEqual([unknown.status, unknown.text], [403, 'ACL not found'])
})

test("a service's token does what its sidecar needs, and nothing for another service", async t => {
  const { call, root, identity, world } = await openDenying(t)
  for (const Name of ['web', 'db'])
    await call('PUT', register, { Name, Port: 1, Connect: { SidecarService: {} } }, { token: root })
  const { SecretID: token } = await identity('web')
  const { trustDomain } = world.authority
  const statusOf = async (method: string, path: string, body?: object) =>
    (await call(method, path, body, { token })).status
  const probe = { ClientCertURI: `spiffe://${trustDomain}/ns/default/dc/dc1/svc/x` }
  assert.equal(await statusOf('GET', '/v1/agent/connect/ca/leaf/web'), 200)
  assert.equal(await statusOf('GET', '/v1/agent/connect/ca/leaf/db'), 403)
  assert.equal(await statusOf('POST', '/v1/agent/connect/authorize', { ...probe, Target: 'web' }), 200)
  assert.equal(await statusOf('POST', '/v1/agent/connect/authorize', { ...probe, Target: 'db' }), 403)
  assert.equal(await statusOf('GET', '/v1/agent/service/web-sidecar-proxy'), 200)
  assert.equal(await statusOf('PUT', register, { Name: 'web', Port: 2 }), 200)
  assert.equal(await statusOf('PUT', register, { Name: 'db', Port: 2 }), 403)
  // Taking over another's instance by its ID is a write to that one as well.
  assert.equal(await statusOf('PUT', register, { ID: 'db', Name: 'web', Port: 2 }), 403)
  assert.equal(await statusOf('PUT', '/v1/agent/service/deregister/db'), 403)
  assert.equal(
    await statusOf('POST', '/v1/connect/intentions', {
      SourceName: 'a',
      DestinationName: 'web',
      Action: 'allow',
    }),
    403,
  )
  assert.equal(await statusOf('GET', '/v1/acl/tokens'), 403)
})

test('what no intention speaks of is denied by default', async t => {
  const { call, identity, world } = await openDenying(t)
  const { SecretID: token } = await identity('web')
  const ClientCertURI = `spiffe://${world.authority.trustDomain}/ns/default/dc/dc1/svc/x`
  const answer = await call(
    'POST',
    '/v1/agent/connect/authorize',
    { Target: 'web', ClientCertURI },
    { token },
  )
  assert.deepEqual(answer.json(), { Authorized: false, Reason: 'Default behavior configured by ACLs' })
})

test("a managed proxy's token is for its own service alone, changes nothing, and dies with the proxy", async t => {
  const { call, root, world } = await openDenying(t)
  await call('PUT', register, { Name: 'web', Port: 1, Connect: { SidecarService: {} } }, { token: root })
  await call('PUT', register, { Name: 'db', Port: 1, Connect: { SidecarService: {} } }, { token: root })
  const { secret: token } = world.tokens.createForProxy('web-sidecar-proxy')
  const statusOf = async (method: string, path: string, body?: object) =>
    (await call(method, path, body, { token })).status
  for (const path of [
    '/v1/agent/connect/ca/leaf/web',
    '/v1/agent/service/web-sidecar-proxy',
    '/v1/connect/intentions/match?by=destination&name=web',
    '/v1/health/connect/db',
  ])
    assert.equal(await statusOf('GET', path), 200, path)
  assert.equal((await call('GET', '/v1/health/connect/db', undefined, { token })).json<object[]>().length, 1)
  for (const path of [
    '/v1/agent/connect/ca/leaf/db',
    '/v1/agent/service/db-sidecar-proxy',
    '/v1/connect/intentions/match?by=destination&name=db',
    '/v1/agent/self',
  ])
    assert.equal(await statusOf('GET', path), 403, path)
  assert.equal(await statusOf('PUT', register, { Name: 'web', Port: 2 }), 403)
  assert.equal(await statusOf('PUT', '/v1/agent/service/deregister/web'), 403)
  await call('PUT', '/v1/agent/service/deregister/web', undefined, { token: root })
  assert.equal(await statusOf('GET', '/v1/agent/connect/ca/leaf/web'), 403)
})

test('a token that is deleted ends what blocks with it', async t => {
  const { call, root, identity, world } = await openDenying(t)
  const { SecretID: token, AccessorID } = await identity('web')
  const leaf = await call('GET', '/v1/agent/connect/ca/leaf/web', undefined, { token })
  const resting = world.state.waiting
  const path = `/v1/agent/connect/ca/leaf/web?index=${leaf.headers.get('x-consul-index')}`
  const blocked = call('GET', path, undefined, { token })
  await until(() => world.state.waiting === resting + 1, 'the call to wait')
  await call('DELETE', `/v1/acl/token/${AccessorID}`, undefined, { token: root })
  assert.equal((await blocked).status, 403)
})

test('a secret is told once, and is not in the state', async t => {
  const { call, root, identity, world, log } = await openDenying(t)
  const { SecretID, AccessorID } = await identity('web')
  const shown = await call('GET', `/v1/acl/token/${AccessorID}`, undefined, { token: root })
  assert.equal(shown.json<{ SecretID: string }>().SecretID, '<hidden>')
  await call('GET', `/v1/agent/services?token=${SecretID}`)
  const everything = JSON.stringify([world.state.all('token'), world.state.all('setting'), log])
  assert.ok(!everything.includes(SecretID))
  assert.ok(!everything.includes(root))
})
