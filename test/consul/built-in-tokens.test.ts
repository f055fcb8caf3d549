// Section 12, scenario 13, with Consul's built-in proxy on one end: tokens, under default deny.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { startBuiltIn } from '../support/built-in.ts'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { freePort } from '../support/free-ports.ts'
import { startMeshSidecar } from '../support/mesh.ts'
import { passing, startMixedPair } from '../support/mixed-pair.ts'
import { eventually } from '../support/running-sidecar.ts'

test("a service identity's token is enough for both ends, and neither writes it down", async t => {
  const agent = await startDenyingConsul(t)
  const [web, db] = [await identityToken(agent, 'web'), await identityToken(agent, 'db')]
  await agent.intention('web', 'db', 'allow')
  await agent.intention('db', 'web', 'allow')
  for (const [token, service, status] of [
    [web, 'web', 200],
    [web, 'db', 403],
    [db, 'db', 200],
    [db, 'web', 403],
  ] as const) {
    const answer = await agent.send('GET', `/v1/agent/connect/ca/leaf/${service}`, undefined, token)
    assert.equal(answer.status, status)
  }
  const pair = await startMixedPair(t, agent, { webArgs: ['--token', web], dbArgs: ['-token', db] })
  await pair.toBuiltIn().echoes('hello')
  await pair.toSidesplice().echoes('hello')
  for (const { stdout, stderr } of [pair.sidesplice.command, pair.builtIn])
    for (const secret of [web, db]) assert.ok(!`${stdout}${stderr}`.includes(secret))
})

test("with another service's token the built-in listens for an app that it can never serve; sidesplice does not, and is not ready", async t => {
  const agent = await startDenyingConsul(t)
  const token = await identityToken(agent, 'web')
  const upstream = await freePort()
  await agent.register({
    ID: 'api1',
    Name: 'api',
    Port: 1,
    Connect: {
      SidecarService: {
        Port: (await freePort()).port,
        Checks: passing,
        Proxy: { Upstreams: [{ DestinationName: 'web', LocalBindPort: upstream.port }] },
      },
    },
  })
  const sidesplice = await startMeshSidecar(t, agent, ['--sidecar-for', 'api1', '--token', token])
  const line = await sidesplice.command.line('the agent refused')
  assert.match(line, /403/)
  assert.equal((await sidesplice.get('/ready')).status, 503)
  assert.deepEqual(sidesplice.command.linesWith('listening'), [])
  await sidesplice.command.stop()

  const builtIn = startBuiltIn(t, agent, ['-sidecar-for', 'api1', '-token', token])
  assert.match(await builtIn.line('type=connect_leaf'), /403 \(Permission denied\)/)
  // The built-in's failure: listens without certificates.
  await builtIn.listens(upstream.port)
})

function startDenyingConsul(t: TestContext): Promise<ConsulAgent> {
  const acl = { enabled: true, default_policy: 'deny', tokens: { master: 'root-token', agent: 'root-token' } }
  return startConsul(t, { config: { acl }, token: 'root-token' })
}

/** The ACL system is up a moment after the agent is. */
async function identityToken(agent: ConsulAgent, service: string): Promise<string> {
  const body = { ServiceIdentities: [{ ServiceName: service }] }
  const made = await eventually(
    () => agent.call<{ SecretID: string }>('PUT', '/v1/acl/token', body).catch(() => undefined),
    'a token',
  )
  return made.SecretID
}
