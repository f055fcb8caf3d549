// Two services of one mesh, each with the other as its upstream: `web` beside sidesplice, `db` beside Consul's built-in proxy. So
// one pair shows both directions.
import type { TestContext } from 'node:test'
import type { Address } from '../../src/address.ts'
import { type BuiltIn, startBuiltIn } from './built-in.ts'
import type { ConsulAgent } from './consul-agent.ts'
import { type App, connect, type End, echo, openApp } from './ends.ts'
import { freePort } from './free-ports.ts'
import { type MeshSidecar, startMeshSidecar } from './mesh.ts'
import { eventually } from './running-sidecar.ts'

export interface MixedEnd {
  readonly app: App
  readonly publicListener: Address
  /** Where the app beside this proxy reaches the other one. */
  readonly upstream: Address
  /** Registers it again, with changes of its proxy and of the sidecar's own registration. */
  register(proxy?: object, sidecar?: object): Promise<void>
}

export interface MixedPair {
  readonly web: MixedEnd
  readonly db: MixedEnd
  readonly sidesplice: MeshSidecar
  readonly builtIn: BuiltIn
  /** A connection from web's side: sidesplice dials the built-in. */
  toBuiltIn(): End
  /** A connection from db's side: the built-in dials sidesplice. */
  toSidesplice(): End
}

export interface MixedPairOptions {
  readonly serve?: (end: End) => void
  readonly webProxy?: object
  readonly dbProxy?: object
  /** Beside each other. */
  readonly webUpstreams?: readonly object[]
  readonly dbUpstreams?: readonly object[]
  readonly webArgs?: readonly string[]
  readonly dbArgs?: readonly string[]
  /** Where sidesplice finds the agent, if not at its own address. */
  readonly webAgent?: { readonly address: string }
  readonly dbAgent?: { readonly address: string }
}

// Consul's own check dials the proxy each ten seconds, and counts it as down until then.
export const passing = [{ Name: 'for the test', TTL: '1h', Status: 'passing' }]

export async function startMixedPair(
  t: TestContext,
  agent: ConsulAgent,
  options: MixedPairOptions = {},
): Promise<MixedPair> {
  const { serve = echo } = options
  const [web, db] = [
    await openEnd(t, agent, {
      name: 'web',
      upstream: 'db',
      serve,
      proxy: options.webProxy,
      upstreams: options.webUpstreams,
    }),
    await openEnd(t, agent, {
      name: 'db',
      upstream: 'web',
      serve,
      proxy: options.dbProxy,
      upstreams: options.dbUpstreams,
    }),
  ]
  await web.register()
  await db.register()
  const builtIn = startBuiltIn(t, options.dbAgent ?? agent, [
    '-sidecar-for',
    'db1',
    ...(options.dbArgs ?? []),
  ])
  const sidesplice = await startMeshSidecar(t, options.webAgent ?? agent, [
    ...['--sidecar-for', 'web1'],
    ...(options.webArgs ?? []),
  ])
  await Promise.all([sidesplice.ready(), builtIn.ready(db.publicListener.port)])
  await knowsEndpoints(sidesplice, 'db', 1)
  await catalogHas(agent, 'web', web.publicListener.port)
  return {
    web,
    db,
    sidesplice,
    builtIn,
    toBuiltIn: () => connect(t, web.upstream),
    toSidesplice: () => connect(t, db.upstream),
  }
}

/** Waits until the catalog, which the built-in asks for each connection, has just this port for the service; or none. */
export async function catalogHas(
  agent: ConsulAgent,
  service: string,
  port: number | undefined,
): Promise<void> {
  await eventually(async () => {
    const path = `/v1/health/connect/${service}?passing`
    const rows = await agent.call<{ Service: { Port: number } }[]>('GET', path)
    return rows.length === (port === undefined ? 0 : 1) && rows[0]?.Service.Port === port
  }, `${service} at ${port}`)
}

/** Waits until sidesplice knows so many endpoints of an upstream. */
export async function knowsEndpoints(sidesplice: MeshSidecar, service: string, count: number): Promise<void> {
  await eventually(async () => {
    const { upstreams } = await sidesplice.state<{
      upstreams: { destination_name: string; endpoints: object[] }[]
    }>()
    const upstream = upstreams.find(({ destination_name }) => destination_name === service)
    return upstream?.endpoints.length === count && true
  }, `${count} endpoints of ${service}`)
}

interface EndFacts {
  readonly name: string
  readonly upstream: string
  readonly serve: (end: End) => void
  readonly proxy: object | undefined
  readonly upstreams: readonly object[] | undefined
}

async function openEnd(t: TestContext, agent: ConsulAgent, facts: EndFacts): Promise<MixedEnd> {
  const app = await openApp(t, { serve: facts.serve })
  const publicListener = await freePort()
  const upstream = await freePort()
  const service = (proxy: object, sidecar: object) => ({
    ID: `${facts.name}1`,
    Name: facts.name,
    Port: app.address.port,
    Connect: {
      SidecarService: {
        Port: publicListener.port,
        Checks: passing,
        Proxy: {
          Upstreams: [
            { DestinationName: facts.upstream, LocalBindPort: upstream.port },
            ...(facts.upstreams ?? []),
          ],
          ...facts.proxy,
          ...proxy,
        },
        ...sidecar,
      },
    },
  })
  return {
    app,
    publicListener,
    upstream,
    register: async (proxy = {}, sidecar = {}) => {
      await agent.register(service(proxy, sidecar))
    },
  }
}
