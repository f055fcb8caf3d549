// The commands for people, on the embedded agent and on a real Consul alike.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { startAgent } from '../support/agent-command.ts'
import { run } from '../support/command.ts'
import { spawnAgent } from '../support/consul-agent.ts'
import { consulBinary } from '../support/consul-binary.ts'
import { freePort } from '../support/free-ports.ts'
import { eventually } from '../support/running-sidecar.ts'

interface Said {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

function commandsOn(t: TestContext, address: string, token?: string) {
  return async (...args: readonly string[]): Promise<Said> => {
    const env = { CONSUL_HTTP_ADDR: address, CONSUL_HTTP_TOKEN: token ?? '' }
    const command = run(t, args, { env })
    const { code } = await command.end()
    return { code, out: command.stdout, err: command.stderr }
  }
}

const agents = {
  'the embedded agent': async (t: TestContext) => (await startAgent(t)).address,
  'Consul 1.8.7': async (t: TestContext) => {
    const { port } = await freePort()
    await spawnAgent(t, port, { real: true })
    const address = `127.0.0.1:${port}`
    await eventually(
      async () =>
        (await fetch(`http://${address}/v1/agent/connect/ca/roots`).catch(() => undefined))?.status === 200 &&
        true,
      `${consulBinary} to be up`,
    )
    return address
  },
} as const

for (const [name, start] of Object.entries(agents)) {
  test(`services, proxies, intentions and the CA are seen and changed on ${name}`, async t => {
    const address = await start(t)
    const sidesplice = commandsOn(t, address)
    const agent = await startAgent(t)
    const file = agent.write('web.hcl', 'service { name = "web" port = 8080 connect { sidecar_service {} } }')
    assert.equal((await sidesplice('services', 'register', file)).code, 0)
    const services = await sidesplice('services')
    assert.match(
      services.out,
      /^ID +SERVICE +KIND +ADDRESS +HEALTH\nweb +web +- +:8080 +passing\nweb-sidecar-proxy +/,
    )
    const proxies = JSON.parse((await sidesplice('proxies', '--json')).out) as {
      ID: string
      Health: string
    }[]
    assert.deepEqual(
      [proxies.length, proxies[0]?.ID, proxies[0]?.Health],
      [1, 'web-sidecar-proxy', 'critical'],
    )
    assert.match((await sidesplice('intention', 'deny', 'web', 'db')).out, /^web => db: deny$/m)
    assert.match((await sidesplice('intention', 'check', 'web', 'db')).out, /denied/)
    assert.equal((await sidesplice('intention', 'allow', 'web', 'db')).code, 0)
    assert.match((await sidesplice('intention')).out, /^web +db +allow +9 +[0-9a-f-]{36}$/m)
    assert.equal((await sidesplice('intention', 'delete', 'web', 'db')).code, 0)
    const missing = await sidesplice('intention', 'delete', 'web', 'db')
    assert.deepEqual([missing.code, missing.err], [1, 'got no intention web => db, expected one to delete\n'])
    const rotated = await sidesplice('ca', 'rotate')
    assert.match(rotated.out, /signs from now on; 2 are trusted/, rotated.err)
    const roots = await sidesplice('ca')
    assert.match(roots.out, / yes +1$/m)
    assert.doesNotMatch(roots.out + rotated.out, /PRIVATE/)
    assert.equal((await sidesplice('services', 'deregister', 'web')).code, 0)
    assert.equal((await sidesplice('services', '--json')).out.trim(), '[]')
  })
}

test('tokens are made, listed without their secrets, and deleted', async t => {
  const agent = await startAgent(t, {
    files: { 'a.json': { acl: { enabled: true } } },
    args: folder => ['--dev', '--config', join(folder, 'a.json')],
  })
  const { SecretID } = await agent.call<{ SecretID: string }>('PUT', '/v1/acl/bootstrap')
  const refused = await commandsOn(t, agent.address)('tokens')
  assert.deepEqual([refused.code, refused.err], [1, 'GET /v1/acl/tokens: 403 Permission denied\n'])
  const sidesplice = commandsOn(t, agent.address, SecretID)
  const made = JSON.parse((await sidesplice('tokens', 'create', 'web', '--json')).out) as {
    AccessorID: string
    SecretID: string
  }
  assert.equal(
    (await agent.send('GET', '/v1/agent/connect/ca/leaf/web', undefined, made.SecretID)).status,
    200,
  )
  const list = await sidesplice('tokens')
  assert.match(list.out, new RegExp(`^${made.AccessorID} +sidecar of web +- +web$`, 'm'))
  assert.ok(!list.out.includes(made.SecretID))
  assert.equal((await sidesplice('tokens', 'delete', made.AccessorID)).code, 0)
  assert.equal(
    (await agent.send('GET', '/v1/agent/connect/ca/leaf/web', undefined, made.SecretID)).status,
    403,
  )
})

test('an agent that is not there is said in one line', async t => {
  const { code, err } = await commandsOn(t, '127.0.0.1:1')('services')
  assert.equal(code, 1)
  assert.match(err, /^GET \/v1\/agent\/services: the agent does not answer \(ECONNREFUSED at .*\)\n$/)
})
