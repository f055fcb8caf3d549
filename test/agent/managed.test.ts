// Proxies that the agent starts, watches and stops by itself.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { findProcesses } from '../../src/managed/processes.ts'
import { durable, launchAgent, type RunningAgent, startAgent } from '../support/agent-command.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { freePort, freePortRange } from '../support/free-ports.ts'
import { eventually } from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'
import { until } from '../support/until.ts'

const asRoot = { connect: { proxy: { allow_managed_root: true } } }

interface Pair {
  readonly agent: RunningAgent
  readonly owner: string
  readonly upstream: { readonly host: string; readonly port: number }
  readonly definitions: (...names: readonly ('web' | 'db')[]) => object
  /** Of proxies that run, by their ID. */
  readonly pids: () => ReadonlyMap<string, number>
  readonly carries: () => Promise<unknown>
}

interface ManagedPairOptions {
  readonly args?: (folder: string) => readonly string[]
  readonly settings?: object
  readonly env?: NodeJS.ProcessEnv
}

/** web reaches db, an app that echoes, through two managed proxies. */
async function startManagedPair(
  t: TestContext,
  { args = durable, settings = {}, env = {} }: ManagedPairOptions = {},
): Promise<Pair> {
  const app = await openApp(t, { serve: echo })
  const [upstream, webApp, range] = [await freePort(), await freePort(), await freePortRange(40)]
  const ports = { proxy_min_port: range.first, proxy_max_port: range.last }
  const services = {
    db: { name: 'db', port: app.address.port, connect: { proxy: { config: { drain: 1 } } } },
    web: {
      ...{ name: 'web', port: webApp.port },
      connect: {
        proxy: {
          config: { drain: 1 },
          upstreams: [{ destination_name: 'db', local_bind_port: upstream.port }],
        },
      },
    },
  }
  const definitions = (...names: readonly ('web' | 'db')[]) => ({
    ...{ ports, ...asRoot, ...settings },
    services: names.map(name => services[name]),
  })
  const agent = await launchAgent(t, {
    files: { 'agent.json': definitions('web', 'db') },
    args: folder => [...args(folder), '--config', join(folder, 'agent.json')],
    env,
  })
  let owner = ''
  t.after(() => {
    for (const { pid } of findProcesses(owner)) process.kill(pid, 'SIGKILL')
  })
  await agent.ready()
  owner =
    (await agent.call<{ Config: { NodeID: string } }>('GET', '/v1/agent/self').catch(() => undefined))?.Config
      .NodeID ?? ''
  return {
    ...{ agent, owner, upstream, definitions },
    pids: () =>
      new Map(findProcesses(owner).flatMap(({ leads, pid, mark }) => (leads ? [[mark.proxy, pid]] : []))),
    carries: () =>
      eventually(async () => {
        const end = connect(t, upstream)
        return end.echoes('through both').then(
          () => true as const,
          () => undefined,
        )
      }, 'traffic through both'),
  }
}

const reload = async ({ agent }: Pair, config: object) => {
  agent.write('agent.json', config)
  const count = agent.command.linesWith('definitions applied').length
  agent.command.signal('SIGHUP')
  await agent.command.line('definitions applied', count + 1)
}

test('from connect { proxy {} } alone both proxies run, carry traffic, and write to their logs', async t => {
  const pair = await startManagedPair(t)
  await pair.carries()
  assert.deepEqual([...pair.pids().keys()].toSorted(), ['db-proxy', 'web-proxy'])
  const logs = join(pair.agent.folder, 'state', 'proxy', 'logs')
  assert.deepEqual(readdirSync(logs).toSorted(), ['db-proxy.log', 'web-proxy.log'])
  const log = readFileSync(join(logs, 'db-proxy.log'), 'utf8')
  assert.match(log, / ready /)
  assert.ok(log.includes(`data_plane=${planeOf('dialing').dataPlane} `))
  const rows = await pair.agent.call<
    { Service: { Port: number; Kind: string }; Checks: { Name: string }[] }[]
  >('GET', '/v1/health/connect/db?passing')
  assert.equal(rows[0]?.Service.Kind, 'connect-proxy')
  assert.ok(rows[0]?.Checks.some(check => check.Name === 'Connect Proxy Listening'))
})

test('a proxy that is killed is started again, and the agent lives on', async t => {
  const pair = await startManagedPair(t)
  await pair.carries()
  const before = pair.pids().get('db-proxy') ?? 0
  process.kill(before, 'SIGKILL')
  await pair.agent.command.line('proxy ended')
  await until(() => ![undefined, before].includes(pair.pids().get('db-proxy')), 'another one')
  await pair.carries()
})

test('kill -9 of the agent leaves proxies carrying traffic; the next start takes them over and changes nothing', async t => {
  const pair = await startManagedPair(t)
  await pair.carries()
  const live = connect(t, pair.upstream)
  await live.echoes('before')
  const before = pair.pids()
  await pair.agent.kill()
  await live.echoes(' during')
  await connect(t, pair.upstream).echoes('new')
  await pair.agent.startAgain()
  await pair.agent.command.line('proxy taken over', 2)
  await live.echoes(' after')
  assert.deepEqual(pair.pids(), before)
  // One that was taken over is watched as any other.
  process.kill(before.get('web-proxy') ?? 0, 'SIGKILL')
  await pair.agent.command.line('proxy started')
  await pair.carries()
  assert.equal(pair.pids().get('db-proxy'), before.get('db-proxy'))
})

test('a definition that went while the agent was away ends its proxy alone', async t => {
  const pair = await startManagedPair(t)
  await pair.carries()
  const before = pair.pids()
  await pair.agent.kill()
  pair.agent.write('agent.json', pair.definitions('db'))
  await pair.agent.startAgain()
  await until(() => !pair.pids().has('web-proxy'), 'its end')
  assert.equal(pair.pids().get('db-proxy'), before.get('db-proxy'))
})

test('a service that goes takes its proxy along, and the token of that; the other stays as it is', async t => {
  const root = 'root-token-of-the-test'
  const pair = await startManagedPair(t, {
    settings: { acl: { enabled: true, default_policy: 'allow', tokens: { initial_management: root } } },
  })
  const self = await pair.agent.call<{ Config: { NodeID: string } }>('GET', '/v1/agent/self', undefined, root)
  const running = () =>
    findProcesses(self.Config.NodeID).flatMap(({ leads, mark }) => (leads ? [mark.proxy] : []))
  t.after(() => {
    for (const { pid } of findProcesses(self.Config.NodeID)) process.kill(pid, 'SIGKILL')
  })
  await pair.carries()
  const tokens = async () =>
    (await pair.agent.call<{ Description: string }[]>('GET', '/v1/acl/tokens', undefined, root)).map(
      token => token.Description,
    )
  assert.deepEqual((await tokens()).toSorted(), ['managed proxy db-proxy', 'managed proxy web-proxy'])
  await reload(pair, { ...pair.definitions('db'), acl: { enabled: true } })
  await until(() => running().length === 1, 'its end')
  assert.deepEqual(running(), ['db-proxy'])
  await eventually(async () => (await tokens()).length === 1 && true, 'its token to go')
  const direct = await pair.agent.send('PUT', '/v1/agent/service/deregister/db-proxy', undefined, root)
  assert.equal(direct.status, 400)
  assert.match(direct.text, /deregister the service db instead/)
})

test('in development mode proxies end with the agent, however it ends', async t => {
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    const pair = await startManagedPair(t, { args: () => ['--dev'] })
    await pair.carries()
    assert.equal(pair.pids().size, 2)
    pair.agent.command.signal(signal)
    await until(() => findProcesses(pair.owner).length === 0, `no proxy after ${signal}`)
  }
})

test('any other program is told who it is and by what, in both spellings, and takes its children along', async t => {
  const agent = await startAgent(t, {
    files: {
      'agent.json': {
        ...asRoot,
        service: {
          ...{ name: 'app', port: 1 },
          connect: {
            proxy: {
              command: ['sh', '-c', 'env > "$OUT" && mv "$OUT" "$OUT.done"; sleep 1000 & sleep 1000'],
              config: { foo: 'bar', bind_port: '29999' },
            },
          },
        },
      },
    },
    args: folder => [...durable(folder), '--config', join(folder, 'agent.json')],
    env: { OUT: join('/tmp', `sidesplice-env-${process.pid}`), CONSUL_HTTP_TOKEN: "the agent's own" },
  })
  const { Config } = await agent.call<{ Config: { NodeID: string } }>('GET', '/v1/agent/self')
  t.after(() => {
    for (const { pid } of findProcesses(Config.NodeID)) process.kill(pid, 'SIGKILL')
  })
  const file = `/tmp/sidesplice-env-${process.pid}.done`
  const text = await until(() => {
    try {
      return readFileSync(file, 'utf8')
    } catch {
      return undefined
    }
  }, 'the program to run')
  const env = new Map(text.split('\n').map(line => line.split(/=(.*)/s) as [string, string]))
  assert.equal(env.get('CONNECT_PROXY_ID'), 'app-proxy')
  assert.equal(env.get('CONSUL_PROXY_ID'), 'app-proxy')
  const token = env.get('CONNECT_PROXY_TOKEN')
  assert.match(token ?? '', /^[0-9a-f-]{36}$/)
  for (const name of ['CONSUL_PROXY_TOKEN', 'CONSUL_HTTP_TOKEN']) assert.equal(env.get(name), token, name)
  assert.equal(env.get('CONSUL_HTTP_ADDR'), `http://${agent.address}`)
  const told = await agent.call<{ Config: object; TargetServiceName: string }>(
    'GET',
    '/v1/agent/connect/proxy/app-proxy',
  )
  assert.deepEqual(
    [told.TargetServiceName, told.Config],
    [
      'app',
      { foo: 'bar', bind_address: '127.0.0.1', bind_port: 29_999, local_service_address: '127.0.0.1:1' },
    ],
  )
  await until(() => findProcesses(Config.NodeID).length === 3, 'its children')
  agent.write('agent.json', asRoot)
  agent.command.signal('SIGHUP')
  await until(() => findProcesses(Config.NodeID).length === 0, 'all of them to end')
})

test('a proxy that can not be started, or ends at once, is tried again later and later, and the agent goes on', async t => {
  const agent = await startAgent(t, {
    files: {
      'agent.json': {
        ...asRoot,
        services: [
          { name: 'none', port: 1, connect: { proxy: { command: ['/nowhere/at/all'] } } },
          { name: 'ends', port: 1, connect: { proxy: { command: ['false'] } } },
        ],
      },
    },
    args: folder => ['--dev', '--config', join(folder, 'agent.json')],
  })
  await agent.command.line('the proxy can not be started proxy=none-proxy error=ENOENT', 3)
  await agent.command.line('proxy=none-proxy wait_s=2')
  await agent.command.line('proxy=ends-proxy wait_s=2')
  assert.equal((await agent.send('GET', '/v1/status/leader')).status, 200)
})

test('as root no proxy is started unless allow_managed_root says so, and the log names it', {
  skip: process.geteuid?.() !== 0,
}, async t => {
  const agent = await startAgent(t, {
    files: {
      'agent.json': { service: { name: 'app', port: 1, connect: { proxy: { command: ['sleep', '1000'] } } } },
    },
    args: folder => ['--dev', '--config', join(folder, 'agent.json')],
  })
  await agent.command.line('connect.proxy.allow_managed_root allows it alone')
  assert.ok('app-proxy' in (await agent.call<object>('GET', '/v1/agent/services')))
  assert.deepEqual(agent.command.linesWith('proxy started'), [])
})

test('over HTTP a managed proxy is registered where allow_managed_api_registration says so, and serves from then on', async t => {
  const app = await openApp(t, { serve: echo })
  const [upstream, range] = [await freePort(), await freePortRange(40)]
  const agent = await startAgent(t, {
    files: {
      'agent.json': {
        connect: { proxy: { allow_managed_root: true, allow_managed_api_registration: true } },
        ports: { proxy_min_port: range.first, proxy_max_port: range.last },
      },
    },
    args: folder => ['--dev', '--config', join(folder, 'agent.json')],
  })
  const proxy = { Upstreams: [{ DestinationName: 'db', LocalBindPort: upstream.port }] }
  await agent.call('PUT', '/v1/agent/service/register', { Name: 'web', Port: 1, Connect: { Proxy: proxy } })
  const registeredAt = performance.now()
  await agent.call('PUT', '/v1/agent/service/register', {
    Name: 'db',
    Port: app.address.port,
    Connect: { Proxy: {} },
  })
  await eventually(async () => {
    const answered = await connect(t, upstream)
      .echoes('first byte')
      .then(
        () => true as const,
        () => undefined,
      )
    return answered
  }, 'the first byte')
  t.diagnostic(`${Math.round(performance.now() - registeredAt)} ms from registering to the first byte`)
})
