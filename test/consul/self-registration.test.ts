// A proxy that registers itself: what it registers, what its check says, and when the registration comes back and goes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { connect, openApp } from '../support/ends.ts'
import { checkBecomes, checkOf, launchRegistered } from '../support/flagged-mesh.ts'
import { freePort } from '../support/free-ports.ts'
import { startMeshSidecar } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'

const gone = (agent: ConsulAgent, id: string) =>
  eventually(
    async () => (await agent.send('GET', `/v1/agent/service/${encodeURIComponent(id)}`)).status === 404,
    `${id} to be gone`,
  )

test('the registration has the shape of that of the built-in proxy, and its check passes when it is ready', async t => {
  const agent = await startConsul(t)
  const { listen } = await launchRegistered(t, agent, { service: 'web', args: ['-register-id', 'r1'] })
  const check = await checkBecomes(agent, 'web-proxy-r1-ttl', 'passing')
  assert.deepEqual(
    [check.Name, check.ServiceID, check.ServiceName, check.Type],
    ['proxy heartbeat', 'web-proxy-r1', 'web-proxy', 'ttl'],
  )
  const service = await agent.call<Record<string, unknown>>('GET', '/v1/agent/service/web-proxy-r1')
  const expected = {
    Kind: 'connect-proxy',
    ID: 'web-proxy-r1',
    Service: 'web-proxy',
    Address: '127.0.0.1',
    Port: listen.port,
    Proxy: { DestinationServiceName: 'web', MeshGateway: {}, Expose: {} },
  }
  const names = Object.keys(expected)
  assert.deepEqual(
    Object.fromEntries(Object.entries(service).filter(([name]) => names.includes(name))),
    expected,
  )
})

test('a proxy on all addresses is registered with that of its agent, and its ID may hold a slash', async t => {
  const agent = await startConsul(t)
  const port = (await freePort()).port
  const app = await openApp(t)
  await startMeshSidecar(t, agent, [
    ...['--service', 'db', '--listen', `:${port}`, '--service-addr', formatAddress(app.address)],
    ...['--register', '--register-id', 'rack 1/a'],
  ])
  const check = await checkBecomes(agent, 'db-proxy-rack 1/a-ttl', 'passing')
  assert.equal(check.ServiceID, 'db-proxy-rack 1/a')
  const rows = await agent.call<{ Node: { Address: string }; Service: { Address: string; Port: number } }[]>(
    'GET',
    '/v1/health/connect/db?passing',
  )
  assert.deepEqual(
    rows.map(({ Service }) => [Service.Address, Service.Port]),
    [['', port]],
  )
})

test('a proxy that can not listen says by its check what is missing, and passes once it can', async t => {
  const agent = await startConsul(t)
  const taken = await openApp(t)
  const at = formatAddress(taken.address)
  const sidecar = await startMeshSidecar(t, agent, [
    ...['--service', 'db', '--listen', at, '--service-addr', '127.0.0.1:1', '--register'],
  ])
  await sidecar.command.line('can not listen')
  const check = await eventually(async () => {
    const now = await checkOf(agent, 'db-proxy-ttl')
    return now?.Output.includes('inbound listener') && now
  }, 'the check to say what is missing')
  assert.equal(check.Status, 'critical')
  assert.ok(check.Output.includes(`missing: inbound listener of db at ${at} (EADDRINUSE)`), check.Output)
  taken.close()
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
})

test('at SIGTERM the registration goes at once and stays away, while live sessions go on', async t => {
  const agent = await startConsul(t)
  const { app, sidecar } = await launchRegistered(t, agent)
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
  const upstream = await freePort()
  const web = await startMeshSidecar(t, agent, ['--service', 'web', '--upstream', `db:${upstream.port}`])
  await web.ready()
  const live = connect(t, upstream)
  await live.echoes('before')
  sidecar.command.signal('SIGTERM')
  await sidecar.command.line('registration taken back')
  await gone(agent, 'db-proxy')
  assert.equal(sidecar.command.ended, undefined)
  await live.echoes(' after')
  assert.equal(sidecar.command.linesWith('registered with the agent').length, 1)
  live.socket.end()
  await live.ends()
  assert.equal((await sidecar.command.end()).code, 0)
  await gone(agent, 'db-proxy')
  assert.equal(app.connections.length, 1)
})

test('an agent that starts anew gets the registration back, by one that serves meanwhile', async t => {
  const agent = await startConsul(t)
  const { sidecar } = await launchRegistered(t, agent)
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
  await agent.kill()
  await agent.startAgain()
  await sidecar.command.line('registered with the agent', 2)
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
  const rows = await agent.call<object[]>('GET', '/v1/health/connect/db?passing')
  assert.equal(rows.length, 1)
})

test('a proxy that somebody has deregistered is registered again', async t => {
  const agent = await startConsul(t)
  const { sidecar } = await launchRegistered(t, agent)
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
  await agent.call('PUT', '/v1/agent/service/deregister/db-proxy')
  assert.match(
    await sidecar.command.line('registered with the agent', 2),
    /agent_had="no check of this proxy"/,
  )
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
})

test('with the agent gone a stop is not held up, and says that the registration may be there', async t => {
  const agent = await startConsul(t)
  const { sidecar } = await launchRegistered(t, agent)
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
  await agent.kill()
  const { code } = await sidecar.command.stop()
  assert.equal(code, 0)
  assert.match(await sidecar.command.line('the registration can not be taken back'), /ECONNREFUSED/)
})

async function tokenOf(agent: ConsulAgent, rights: object): Promise<string> {
  const made = await eventually(
    () => agent.call<{ SecretID: string }>('PUT', '/v1/acl/token', rights).catch(() => undefined),
    'a token',
  )
  return made.SecretID
}

test("a service identity may not register, which the log says once, naming the right; a policy's token may", async t => {
  const acl = { enabled: true, default_policy: 'deny', tokens: { master: 'root-token', agent: 'root-token' } }
  const agent = await startConsul(t, { config: { acl }, token: 'root-token' })
  const weak = await tokenOf(agent, { ServiceIdentities: [{ ServiceName: 'db' }] })
  const refused = await launchRegistered(t, agent, { args: ['-token', weak] })
  const warning = await refused.sidecar.command.line('the registration can not be kept')
  assert.match(warning, /403 Permission denied.*needs service:write on db-proxy and on db/)
  await refused.sidecar.ready()
  assert.equal((await refused.sidecar.command.stop()).code, 0)
  assert.equal(refused.sidecar.command.linesWith('the registration can not be kept').length, 1)

  const names = ['db', 'db-proxy'].map(name => `service "${name}" { policy = "write" }`)
  const Rules = [...names, 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }'].join(
    '\n',
  )
  await agent.call('PUT', '/v1/acl/policy', { Name: 'db', Rules })
  const strong = await tokenOf(agent, { Policies: [{ Name: 'db' }] })
  const { sidecar } = await launchRegistered(t, agent, { args: ['-token', strong] })
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
  await sidecar.command.stop()
  await gone(agent, 'db-proxy')
  for (const { command } of [refused.sidecar, sidecar])
    for (const secret of [weak, strong]) assert.ok(!command.stdout.includes(secret))
})
