// Two services with their sidecars in a mesh of a real agent, as an operator registers and starts them.
import type { TestContext } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import { type Command, type CommandOptions, run } from './command.ts'
import type { ConsulAgent } from './consul-agent.ts'
import { type App, connect, type End, echo, openApp } from './ends.ts'
import { freePort } from './free-ports.ts'
import { ask, eventually, type HttpAnswer } from './running-sidecar.ts'

export class MeshSidecar {
  readonly command: Command
  readonly admin: Address

  constructor(command: Command, admin: Address) {
    this.command = command
    this.admin = admin
  }

  get(path: string): Promise<HttpAnswer> {
    return ask(this.admin, path)
  }

  async state<T = Record<string, unknown>>(): Promise<T> {
    return JSON.parse((await this.get('/state')).body) as T
  }

  ready(): Promise<true> {
    return eventually(async () => (await this.get('/ready')).status === 200 && true, 'readiness')
  }
}

export async function startMeshSidecar(
  t: TestContext,
  agent: Pick<ConsulAgent, 'address'>,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<MeshSidecar> {
  const admin = await freePort()
  const all = ['proxy', '--http-addr', agent.address, '--admin', formatAddress(admin), ...args]
  return new MeshSidecar(run(t, all, options), admin)
}

export interface MeshPair {
  readonly app: App
  readonly web: MeshSidecar
  readonly db: MeshSidecar
  readonly webPublic: Address
  readonly dbPublic: Address
  /** web's upstream listener for db. */
  readonly upstream: Address
  /** web's registration, to be changed and registered anew. */
  readonly webService: (proxy?: object, sidecar?: object) => object
  readonly dbService: (proxy?: object, sidecar?: object) => object
  connect(): End
}

export interface MeshPairOptions {
  readonly serve?: (end: End) => void
  readonly webArgs?: readonly string[]
  readonly dbArgs?: readonly string[]
  readonly webProxy?: object
  readonly dbProxy?: object
}

// Consul's own check dials the proxy each ten seconds, and counts it as down until then.
const passing = [{ Name: 'for the test', TTL: '1h', Status: 'passing' }]

/** `web` reaches `db`, an app that echoes, through their sidecars; both registered and ready. */
export async function startMeshPair(
  t: TestContext,
  agent: ConsulAgent,
  options: MeshPairOptions = {},
): Promise<MeshPair> {
  const app = await openApp(t, { serve: options.serve ?? echo })
  const [webPublic, dbPublic, upstream, webApp] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ]
  const webService = (proxy: object = {}, sidecar: object = {}) => ({
    ID: 'web1',
    Name: 'web',
    Port: webApp.port,
    Connect: {
      SidecarService: {
        Port: webPublic.port,
        Checks: passing,
        Proxy: {
          Upstreams: [{ DestinationName: 'db', LocalBindPort: upstream.port }],
          ...options.webProxy,
          ...proxy,
        },
        ...sidecar,
      },
    },
  })
  const dbService = (proxy: object = {}, sidecar: object = {}) => ({
    ID: 'db1',
    Name: 'db',
    Port: app.address.port,
    Connect: {
      SidecarService: {
        Port: dbPublic.port,
        Checks: passing,
        Proxy: { ...options.dbProxy, ...proxy },
        ...sidecar,
      },
    },
  })
  await agent.register(webService())
  await agent.register(dbService())
  const web = await startMeshSidecar(t, agent, ['--sidecar-for', 'web1', ...(options.webArgs ?? [])])
  const dialed = { side: 'dialed' } as const
  const db = await startMeshSidecar(t, agent, ['--sidecar-for', 'db1', ...(options.dbArgs ?? [])], dialed)
  await Promise.all([web.ready(), db.ready()])
  await eventually(
    async () =>
      (await web.state<{ upstreams: { endpoints: object[] }[] }>()).upstreams[0]?.endpoints.length === 1 &&
      true,
    'db to be found',
  )
  return {
    app,
    web,
    db,
    webPublic,
    dbPublic,
    upstream,
    webService,
    dbService,
    connect: () => connect(t, upstream),
  }
}
