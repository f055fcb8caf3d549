// `sidesplice manage` beside Consul 1.8.7 itself, with ACLs that deny by default.
import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { findProcesses } from '../../src/managed/processes.ts'
import { run } from '../support/command.ts'
import { serviceToken, startConsulWithAcls } from '../support/consul-acls.ts'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { Manager, madeTokens } from '../support/manager.ts'
import { eventually } from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'
import { until } from '../support/until.ts'

async function services(t: TestContext, agent: ConsulAgent) {
  const app = await openApp(t, { serve: echo })
  const [upstream, webApp] = [await freePort(), await freePort()]
  const again = async () => {
    await agent.register({ Name: 'db', Port: app.address.port })
    await agent.register({ Name: 'web', Port: webApp.port })
  }
  await again()
  const drain = { config: { drain: 1 } }
  const db = { name: 'db', port: app.address.port, connect: { proxy: drain } }
  const upstreams = [{ destination_name: 'db', local_bind_port: upstream.port }]
  const web = { name: 'web', port: webApp.port, connect: { proxy: { ...drain, upstreams } } }
  const carries = () =>
    eventually(
      async () =>
        connect(t, upstream)
          .echoes('through both')
          .then(
            () => true as const,
            () => undefined,
          ),
      'traffic through both',
      40_000,
    )
  return { db, web, upstream, carries, again }
}

test('sidecars are registered, given tokens of their own, run and taken over; a service that goes takes all of that along', async t => {
  const agent = await startConsulWithAcls(t, { real: true })
  const { db, web, upstream, carries } = await services(t, agent)
  await agent.intention('web', 'db', 'allow')
  const manager = new Manager(
    t,
    { agent, token: agent.master, args: ['--make-tokens'] },
    { services: [db, web] },
  )
  await carries()
  const before = manager.pids()
  assert.deepEqual([...before.keys()].toSorted(), ['db-sidecar-proxy', 'web-sidecar-proxy'])
  assert.equal(await madeTokens(agent), 2)
  const log = readFileSync(join(manager.folder, 'state', 'proxy', 'logs', 'db-sidecar-proxy.log'), 'utf8')
  assert.ok(log.includes(`data_plane=${planeOf('dialing').dataPlane} `))
  // Narrow: the environment of a proxy has no other token.
  const environ = readFileSync(`/proc/${before.get('web-sidecar-proxy')}/environ`, 'utf8')
  assert.ok(!environ.includes(agent.master))
  const live = connect(t, upstream)
  await live.echoes('before')
  await manager.kill()
  await live.echoes(' during')
  manager.startAgain()
  await manager.command.line('proxy taken over', 2)
  await live.echoes(' after')
  assert.deepEqual(manager.pids(), before)
  manager.write({ services: [db] })
  manager.command.signal('SIGHUP')
  await until(() => !manager.pids().has('web-sidecar-proxy'), 'the end of one proxy', 20_000)
  await eventually(async () => (await madeTokens(agent)) === 1 && true, 'its token to go', 50_000)
  const left = Object.keys(await agent.call<object>('GET', '/v1/agent/services')).toSorted()
  assert.deepEqual(left, ['db', 'db-sidecar-proxy', 'web'])
  assert.equal(manager.pids().get('db-sidecar-proxy'), before.get('db-sidecar-proxy'))
})

test("a token from the operator's file needs no right to make any", async t => {
  const agent = await startConsulWithAcls(t, { real: true })
  const { db, web, carries } = await services(t, agent)
  await agent.intention('web', 'db', 'allow')
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-tokens-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const withFile = async (service: typeof db | typeof web) => {
    const file = join(folder, service.name)
    writeFileSync(file, (await serviceToken(agent, service.name)).SecretID, { mode: 0o600 })
    return { ...service, token_file: file }
  }
  const rights = await agent.call<{ SecretID: string }>('PUT', '/v1/acl/token', {
    ServiceIdentities: [{ ServiceName: 'web' }, { ServiceName: 'db' }],
  })
  const manager = new Manager(
    t,
    { agent, token: rights.SecretID, args: [] },
    { services: [await withFile(db), await withFile(web)] },
  )
  await carries()
  assert.equal(await madeTokens(agent), 0)
  for (const pid of manager.pids().values())
    assert.ok(!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(rights.SecretID))
})

test("an auth method's login gives each proxy its token, and the token is given back as the proxy goes", async t => {
  const agent = await startConsulWithAcls(t, { real: true })
  const { db, web, carries } = await services(t, agent)
  await agent.intention('web', 'db', 'allow')
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await agent.call('PUT', '/v1/acl/auth-method', {
    ...{ Name: 'machines', Type: 'jwt' },
    Config: {
      JWTValidationPubKeys: [publicKey.export({ type: 'spki', format: 'pem' })],
      JWTSupportedAlgs: ['ES256'],
      ClaimMappings: { service: 'service' },
    },
  })
  await agent.call('PUT', '/v1/acl/binding-rule', {
    ...{ AuthMethod: 'machines', BindType: 'service', BindName: '$\u007bvalue.service}' },
  })
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-bearer-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const withLogin = (service: typeof db | typeof web) => {
    const file = join(folder, service.name)
    writeFileSync(file, bearer(privateKey, service.name), { mode: 0o600 })
    return { ...service, login: { auth_method: 'machines', bearer_token_file: file } }
  }
  const rights = await agent.call<{ SecretID: string }>('PUT', '/v1/acl/token', {
    ServiceIdentities: [{ ServiceName: 'web' }, { ServiceName: 'db' }],
  })
  const manager = new Manager(
    t,
    { agent, token: rights.SecretID, args: [] },
    { services: [withLogin(db), withLogin(web)] },
  )
  await carries().catch(e => {
    process.stdout.write(manager.command.stdout)
    throw e
  })
  const logins = async () =>
    (await agent.call<{ AuthMethod?: string }[]>('GET', '/v1/acl/tokens')).filter(
      token => token.AuthMethod === 'machines',
    ).length
  assert.equal(await logins(), 2)
  // What it was given is found again after the supervisor's own end.
  await manager.kill()
  manager.write({ services: [withLogin(db)] })
  manager.startAgain()
  await until(() => !manager.pids().has('web-sidecar-proxy'), 'the end of one proxy', 20_000)
  await eventually(async () => (await logins()) === 1 && true, 'its token to go', 50_000)
})

/** A JSON Web Token that names a service, good for an hour. */
function bearer(key: KeyObject, service: string): string {
  const now = Math.floor(Date.now() / 1_000)
  const [head, claims] = [
    { alg: 'ES256', typ: 'JWT' },
    { service, sub: service, iat: now, nbf: now - 10, exp: now + 3_600 },
  ].map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
  const signature = sign('sha256', Buffer.from(`${head}.${claims}`), { key, dsaEncoding: 'ieee-p1363' })
  return `${head}.${claims}.${signature.toString('base64url')}`
}

test('a service that asks by its metadata gets a proxy, never a program of its own, and loses it as it asks no more', async t => {
  const agent = await startConsul(t, { real: true })
  const app = await openApp(t, { serve: echo })
  const asks = (meta: object) =>
    agent.register({ Name: 'db', Port: app.address.port, Meta: { command: '/bin/false', ...meta } })
  await asks({ 'sidesplice-managed': 'true' })
  await agent.register({ Name: 'other', Port: 1, Meta: { 'sidesplice-managed': 'yes' } })
  const manager = new Manager(t, { agent, args: ['--from-metadata'] })
  await manager.command.line('proxy started proxy=db-sidecar-proxy')
  const [found] = findProcesses(manager.owner)
  assert.match(
    readFileSync(`/proc/${found?.pid}/cmdline`, 'utf8'),
    /sidesplice\.cjs\0proxy\0--proxy-id\0db-sidecar-proxy/,
  )
  await eventually(
    async () => (await agent.call<object[]>('GET', '/v1/health/connect/db?passing')).length === 1 && true,
    'it to be found',
  )
  assert.deepEqual([...manager.pids().keys()], ['db-sidecar-proxy'])
  await asks({})
  await until(() => manager.pids().size === 0, 'its end', 20_000)
  await eventually(
    async () => !('db-sidecar-proxy' in (await agent.call<object>('GET', '/v1/agent/services'))) && true,
    'its registration to go',
  )
})

test("Consul's restart leaves proxies running; what it has forgotten is registered again", async t => {
  const agent = await startConsul(t, { real: true })
  const { db, web, carries, again } = await services(t, agent)
  const manager = new Manager(t, { agent, args: [] }, { services: [db, web] })
  await carries()
  const before = manager.pids()
  await agent.kill()
  await manager.command.line('the agent can not be asked; proxies go on as they are')
  // Another cluster, which knows nothing of them.
  await agent.startAgain()
  await again()
  await manager.command.line('sidecar registered', 4)
  assert.deepEqual(manager.pids(), before)
  await carries()
})

test('more proxies than the agent lets one client connect for are warned of before', async t => {
  const agent = await startConsul(t, { real: true })
  const sleepers = Array.from({ length: 27 }, (_, at) => ({
    ...{ name: `s${at}`, port: 1 },
    connect: { proxy: { command: ['sleep', '1000'] } },
  }))
  const manager = new Manager(t, { agent, args: [] }, { services: sleepers })
  assert.match(
    await manager.command.line('limits.http_max_conns_per_client'),
    /connections=163 of=200 proxies=27/,
  )
})

test('without anything to manage it says so', async t => {
  const command = run(t, ['manage'])
  assert.equal((await command.end()).code, 1)
  assert.match(command.stderr, /got neither services by --config nor --from-metadata/)
})
