// `sidesplice manage` beside Consul 1.8.7 itself, with ACLs that deny by default.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { findProcesses } from '../../src/managed/processes.ts'
import { run } from '../support/command.ts'
import { serviceToken, startConsulWithAcls } from '../support/consul-acls.ts'
import { startConsul } from '../support/consul-agent.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { Manager, madeTokens, services } from '../support/manager.ts'
import { eventually } from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'
import { until } from '../support/until.ts'

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
