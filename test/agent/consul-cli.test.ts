// Consul's own command line, version 1.8.7, against the embedded agent, as it is.
import assert from 'node:assert/strict'
import { type ExecFileException, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { startAgent } from '../support/agent-command.ts'
import { Command } from '../support/command.ts'
import { consulBinary } from '../support/consul-binary.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { issue } from '../support/pki.ts'
import { eventually } from '../support/running-sidecar.ts'
import { noteSecret } from '../support/secrets.ts'
import { until } from '../support/until.ts'

async function open(t: TestContext, root?: string) {
  const acl = { enabled: true, tokens: { initial_management: root } }
  const agent = await startAgent(
    t,
    root === undefined
      ? {}
      : {
          files: { 'agent.json': { acl } },
          args: folder => ['--dev', '--config', join(folder, 'agent.json')],
        },
  )
  const env = {
    ...process.env,
    CONSUL_HTTP_ADDR: agent.address,
    ...(root !== undefined && { CONSUL_HTTP_TOKEN: root }),
  }
  const consul = (...args: readonly string[]) =>
    new Promise<{ readonly code: number; readonly out: string }>(resolve =>
      execFile(consulBinary, args, { env }, (error: ExecFileException | null, stdout, stderr) =>
        resolve({ code: typeof error?.code === 'number' ? error.code : 0, out: stdout + stderr }),
      ),
    )
  return { agent, env, consul }
}

test('services register and deregister', async t => {
  const { agent, consul } = await open(t)
  const file = agent.write(
    'web.hcl',
    `service {
      name = "web"
      id = "web1"
      port = 8080
      check { tcp = "127.0.0.1:8080" interval = "10s" }
      connect { sidecar_service { proxy { upstreams { destination_name = "db" local_bind_port = 9191 } } } }
    }`,
  )
  assert.deepEqual(await consul('services', 'register', file), { code: 0, out: 'Registered service: web\n' })
  const services = await agent.call<Record<string, { Proxy?: { Upstreams: { LocalBindPort: number }[] } }>>(
    'GET',
    '/v1/agent/services',
  )
  assert.deepEqual(Object.keys(services), ['web1', 'web1-sidecar-proxy'])
  assert.equal(services['web1-sidecar-proxy']?.Proxy?.Upstreams[0]?.LocalBindPort, 9191)
  assert.match((await consul('catalog', 'services')).out, /^web\nweb-sidecar-proxy\n$/)
  assert.deepEqual(await consul('services', 'deregister', '-id=web1'), {
    code: 0,
    out: 'Deregistered service: web1\n',
  })
  assert.deepEqual(await agent.call('GET', '/v1/agent/services'), {})
})

test('intention create, check, match, get and delete', async t => {
  const { consul } = await open(t)
  assert.deepEqual(await consul('intention', 'create', '-deny', 'web', 'db'), {
    code: 0,
    out: 'Created: web => db (deny)\n',
  })
  assert.deepEqual(await consul('intention', 'check', 'web', 'db'), { code: 1, out: 'Denied\n' })
  assert.deepEqual(await consul('intention', 'check', 'api', 'db'), { code: 0, out: 'Allowed\n' })
  assert.deepEqual(await consul('intention', 'match', 'db'), { code: 0, out: 'web => db (deny)\n' })
  assert.equal((await consul('intention', 'create', '-allow', 'web', 'db')).code, 1)
  assert.equal((await consul('intention', 'create', '-replace', '-allow', 'web', 'db')).code, 0)
  assert.match((await consul('intention', 'get', 'web', 'db')).out, /Action: +allow/)
  assert.deepEqual(await consul('intention', 'delete', 'web', 'db'), { code: 0, out: 'Intention deleted.\n' })
  assert.equal((await consul('intention', 'get', 'web', 'db')).code, 1)
})

test('connect ca get-config and set-config, by which the CA changes', async t => {
  const { agent, consul } = await open(t)
  const { TrustDomain, ActiveRootID } = await agent.call<{ TrustDomain: string; ActiveRootID: string }>(
    'GET',
    '/v1/connect/ca/roots',
  )
  const shown = await consul('connect', 'ca', 'get-config')
  assert.match(shown.out, /"LeafCertTTL": "72h"/)
  const root = await issue({ commonName: 'own', ca: true, uris: [`spiffe://${TrustDomain}`] })
  const file = agent.write('ca.json', {
    Provider: 'consul',
    Config: { PrivateKey: root.sec1Pem, RootCert: root.certPem, LeafCertTTL: '24h' },
  })
  const set = await consul('connect', 'ca', 'set-config', '-config-file', file)
  assert.deepEqual(set, { code: 0, out: 'Configuration updated!\n' })
  const roots = await agent.call<{ ActiveRootID: string; Roots: object[] }>('GET', '/v1/connect/ca/roots')
  assert.notEqual(roots.ActiveRootID, ActiveRootID)
  assert.equal(roots.Roots.length, 2)
  const again = await consul('connect', 'ca', 'get-config')
  assert.match(again.out, /"LeafCertTTL": "24h"/)
  assert.doesNotMatch(again.out, /PRIVATE/)
})

test('connect proxy -sidecar-for carries traffic, in both roles, and ends what an intention denies from then on', async t => {
  const { agent, env, consul } = await open(t)
  const app = await openApp(t, { serve: echo })
  const [webPort, upstream, webPublic, dbPublic] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ]
  const checks = [{ Name: 'for the test', TTL: '1h', Status: 'passing' }]
  await agent.call('PUT', '/v1/agent/service/register', {
    ...{ Name: 'web', Port: webPort.port },
    Connect: {
      SidecarService: {
        ...{ Port: webPublic.port, Checks: checks },
        Proxy: { Upstreams: [{ DestinationName: 'db', LocalBindPort: upstream.port }] },
      },
    },
  })
  await agent.call('PUT', '/v1/agent/service/register', {
    ...{ Name: 'db', Port: app.address.port },
    Connect: { SidecarService: { Port: dbPublic.port, Checks: checks } },
  })
  for (const id of ['web', 'db']) {
    const child = spawn(consulBinary, ['connect', 'proxy', '-sidecar-for', id], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const command = new Command(child, false)
    t.after(async () => {
      child.kill('SIGKILL')
      await until(() => command.ended !== undefined, 'the proxy to end')
    })
    await command.line('Starting listener: listener="public listener"')
  }
  await eventually(async () => {
    try {
      await connect(t, upstream).echoes('through both')
      return true
    } catch {
      return undefined
    }
  }, 'traffic through both')
  assert.equal((await consul('intention', 'create', '-deny', 'web', 'db')).code, 0)
  await assert.rejects(connect(t, upstream).echoes('denied'))
})

test('acl policy create, read, list, update and delete, and a token of one', async t => {
  const root = randomUUID()
  noteSecret(root)
  const { agent, consul } = await open(t, root)
  const field = (out: string, name: string) => new RegExp(`^${name}: +(.*)$`, 'm').exec(out)?.[1] ?? ''
  const rules = agent.write('db.hcl', 'service "db" { policy = "write" }\n')
  const made = await consul('acl', 'policy', 'create', '-name=db', '-description=of db', `-rules=@${rules}`)
  assert.equal(made.code, 0, made.out)
  assert.match(made.out, /service "db" \{ policy = "write" \}/)
  const id = field(made.out, 'ID')
  for (const which of [`-id=${id}`, '-name=db'])
    assert.equal(field((await consul('acl', 'policy', 'read', which)).out, 'Description'), 'of db')
  assert.match((await consul('acl', 'policy', 'list')).out, /^global-management:[\s\S]*^db:/m)
  const token = await consul('acl', 'token', 'create', '-policy-name=db')
  assert.equal(token.code, 0, token.out)
  assert.match(token.out, new RegExp(`${id} - db`))
  const secret = field(token.out, 'SecretID')
  noteSecret(secret)
  const mayLeaf = async (name: string) =>
    (await agent.send('GET', `/v1/agent/connect/ca/leaf/${name}`, undefined, secret)).status
  assert.deepEqual([await mayLeaf('db'), await mayLeaf('web')], [200, 403])
  const changed = await consul(
    'acl',
    'policy',
    'update',
    '-name=db',
    '-rules=service "web" { policy = "write" }',
  )
  assert.equal(changed.code, 0, changed.out)
  assert.equal(field(changed.out, 'Description'), 'of db')
  assert.deepEqual([await mayLeaf('db'), await mayLeaf('web')], [403, 200])
  const wrong = await consul(
    'acl',
    'policy',
    'create',
    '-name=wrong',
    '-rules=service "x" { policy = "some" }',
  )
  assert.deepEqual([wrong.code, /Invalid service policy/.test(wrong.out)], [1, true])
  assert.match((await consul('acl', 'policy', 'delete', '-name=db')).out, /deleted successfully/)
  assert.equal((await consul('acl', 'policy', 'read', `-id=${id}`)).code, 1)
  assert.deepEqual([await mayLeaf('db'), await mayLeaf('web')], [403, 403])
})
