import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { launchAgent, startAgent } from '../support/agent-command.ts'
import { freePort } from '../support/free-ports.ts'
import { eventually } from '../support/running-sidecar.ts'

const conf = (folder: string) => ['--dev', '--config-dir', join(folder, 'conf')]

test('definitions of JSON and HCL files are registered, and a reload changes what they changed alone', async t => {
  const agent = await startAgent(t, {
    files: {
      'conf/a.json': { service: { name: 'a', port: 1, connect: { sidecar_service: {} } } },
      'conf/b.hcl': 'service { name = "b" port = 2 }\nservice { name = "c" port = 3 }\nnode_name = "here"',
    },
    args: conf,
  })
  await agent.call('PUT', '/v1/agent/service/register', { Name: 'api', Port: 4 })
  const names = async () => Object.keys(await agent.call<object>('GET', '/v1/agent/services')).toSorted()
  assert.deepEqual(await names(), ['a', 'a-sidecar-proxy', 'api', 'b', 'c'])
  const { index } = await agent.send('GET', '/v1/catalog/services')
  agent.command.signal('SIGHUP')
  await agent.command.line('definitions applied', 2)
  assert.equal((await agent.send('GET', '/v1/catalog/services')).index, index, 'nothing changed')
  rmSync(join(agent.folder, 'conf', 'a.json'))
  agent.write('conf/b.hcl', 'service { name = "b" port = 20 }\nnode_name = "here"')
  agent.command.signal('SIGHUP')
  await agent.command.line('definitions applied', 3)
  assert.deepEqual(await names(), ['api', 'b'])
  const { b } = await agent.call<Record<string, { Port: number }>>('GET', '/v1/agent/services')
  assert.equal(b?.Port, 20)
})

test('a definition that is wrong names file, key, got and expected, and leaves the rest running', async t => {
  const agent = await startAgent(t, {
    files: {
      'conf/a.json': {
        services: [
          { name: 'good', port: 1 },
          { name: 'bad', prot: 1 },
          { name: 'worse', port: 'x' },
          { name: 'odd', connect: { proxy: { exec_mode: 'script' } } },
        ],
      },
    },
    args: conf,
  })
  assert.deepEqual(Object.keys(await agent.call<object>('GET', '/v1/agent/services')), ['good'])
  const said = agent.command.linesWith('left out').join('\n')
  assert.match(said, /a\.json: services\[1\]\.prot: got an unknown key, expected one of .*port/)
  assert.match(said, /a\.json: services\[2\]\.port: got "x", expected a value of type integer/)
  assert.match(said, /services\[3\]: .*exec_mode: got .*script.*, expected .*daemon/s)
})

test('a reload of files that do not parse changes nothing', async t => {
  const agent = await startAgent(t, { files: { 'conf/a.hcl': 'service { name = "a" }' }, args: conf })
  agent.write('conf/a.hcl', 'service { name = ')
  agent.command.signal('SIGHUP')
  assert.match(await agent.command.line('reload refused'), /a\.hcl:1: got .*the end.*, expected a value/)
  assert.deepEqual(Object.keys(await agent.call<object>('GET', '/v1/agent/services')), ['a'])
})

for (const [what, files, args, expected] of [
  ['an unknown key', { 'a.json': { data_dri: '/x' } }, ['--dev'], /a\.json: data_dri: got an unknown key/],
  [
    'no place for state',
    { 'a.json': {} },
    [],
    /data_dir: got "nothing", expected a folder to keep state in, or --dev/,
  ],
  [
    'an address of others',
    { 'a.json': { client_addr: '0.0.0.0' } },
    ['--dev'],
    /client_addr: got 0\.0\.0\.0:\d+, expected a loopback address.*--unsafe-listen/,
  ],
  [
    'HTTPS without a certificate',
    { 'a.json': { ports: { https: 8501 }, key_file: 'x' } },
    ['--dev'],
    /cert_file: got nothing, expected a file, since ports\.https is set/,
  ],
  [
    'clients to verify by nothing',
    { 'a.json': { ports: { https: 8501 }, cert_file: 'x', key_file: 'x', verify_incoming: true } },
    ['--dev'],
    /ca_file: got nothing, expected a file, since clients are to be verified/,
  ],
  [
    'HTTPS for others without tokens',
    {
      'a.json': {
        ports: { https: 8501 },
        ...{ cert_file: 'x', key_file: 'x', addresses: { https: '0.0.0.0' } },
      },
    },
    ['--dev'],
    /addresses\.https: got 0\.0\.0\.0:8501, expected a loopback address, or acl \{ enabled = true \}/,
  ],
  [
    'a file that is not there',
    {},
    ['--dev'],
    /a\.json: got ENOENT, expected a file or folder that can be read/,
  ],
  [
    'another CA',
    { 'a.json': { connect: { ca_provider: 'vault' } } },
    ['--dev'],
    /connect\.ca_provider: got "vault"/,
  ],
  [
    'script proxies',
    { 'a.json': { connect: { proxy_defaults: { exec_mode: 'script' } } } },
    ['--dev'],
    /exec_mode: got "script"/,
  ],
] as const) {
  test(`an agent with ${what} does not start, and says why`, async t => {
    const agent = await launchAgent(t, {
      files,
      args: folder => [...args, '--config', join(folder, 'a.json')],
    })
    assert.equal((await agent.command.end()).code, 1)
    assert.match(agent.command.stderr, expected)
    assert.doesNotMatch(agent.command.stderr, / at .*\.js/)
  })
}

test('beyond loopback it listens where --unsafe-listen says so', async t => {
  const agent = await startAgent(t, {
    files: { 'a.json': { client_addr: '0.0.0.0' } },
    args: folder => ['--dev', '--unsafe-listen', '--config', join(folder, 'a.json')],
  })
  await eventually(
    async () => (await agent.send('GET', '/v1/status/leader')).status === 200 && true,
    'an answer',
  )
})

test('no proxy is given the port of the agent itself, which does not listen yet when proxies are placed', async t => {
  const own = await freePort()
  const agent = await startAgent(t, {
    files: {
      'a.json': {
        ports: { proxy_min_port: own.port, proxy_max_port: own.port },
        service: { name: 'a', port: 1, connect: { proxy: {} } },
      },
    },
    args: folder => [...conf(folder), '--config', join(folder, 'a.json'), '--http-port', String(own.port)],
  })
  const range = `[${own.port}, ${own.port}]`
  assert.ok(agent.command.linesWith('left out').join().includes(`none left in the configured range ${range}`))
})

test('the agent stops at once although calls block', async t => {
  const agent = await startAgent(t)
  const { index } = await agent.send('GET', '/v1/connect/intentions')
  const blocked = agent.send('GET', `/v1/connect/intentions?index=${index}&wait=10m`).catch(() => undefined)
  await agent.send('GET', '/v1/status/leader')
  assert.equal((await agent.command.stop()).code, 0)
  await blocked
})
