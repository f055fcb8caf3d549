// Two datacenters of one mesh, each of one real agent, and services with sidecars in either.
import type { TestContext } from 'node:test'
import type { Address } from '../../src/address.ts'
import { type ConsulAgent, startConsul } from './consul-agent.ts'
import { type App, openApp } from './ends.ts'
import { freePort } from './free-ports.ts'
import { type MeshSidecar, startMeshSidecar } from './mesh.ts'
import { eventually } from './running-sidecar.ts'

export interface Datacenters {
  /** Its CA is the mesh's; intentions are written here. */
  readonly dc1: ConsulAgent
  /** Its CA is an intermediate of dc1's; intentions are replicated to it. */
  readonly dc2: ConsulAgent
}

export async function startDatacenters(t: TestContext): Promise<Datacenters> {
  const federation = { primary_datacenter: 'dc1', connect: { enabled: true } }
  const dc1 = await startConsul(t, { config: { ...federation, datacenter: 'dc1' } })
  const self = await dc1.call<{ Member: { Tags: { wan_join_port: string } } }>('GET', '/v1/agent/self')
  const config = {
    ...federation,
    datacenter: 'dc2',
    retry_join_wan: [`127.0.0.1:${self.Member.Tags.wan_join_port}`],
    retry_interval_wan: '1s',
  }
  const dc2 = await startConsul(t, { config })
  // The second datacenter signs nothing before the first has signed its intermediate.
  await eventually(
    async () =>
      (await dc2.send('GET', '/v1/agent/connect/ca/leaf/any')).status === 200 &&
      (await dc1.send('GET', '/v1/health/connect/any?dc=dc2')).status === 200,
    'the datacenters to know each other',
  )
  return { dc1, dc2 }
}

export interface MeshService {
  readonly app: App
  readonly sidecar: MeshSidecar
  readonly publicListener: Address
  /** Stands for Consul's own check of the sidecar, which takes ten seconds to see a change. */
  setHealth(health: 'pass' | 'fail'): Promise<unknown>
  endpoints(): Promise<readonly Endpoint[]>
}

/** As /state shows it. */
export interface Endpoint {
  readonly address: string
  readonly expect: readonly string[]
}

export interface MeshServiceOptions {
  readonly name: string
  readonly upstreams?: readonly object[]
  /** What the app says to whoever connects, before it echoes. */
  readonly greeting?: string
}

/** One instance, registered at this agent, with its sidecar ready. */
export async function startService(
  t: TestContext,
  agent: ConsulAgent,
  { name, upstreams = [], greeting = '' }: MeshServiceOptions,
): Promise<MeshService> {
  const app = await openApp(t, {
    serve: ({ socket }) => {
      if (greeting !== '') socket.write(greeting)
      socket.pipe(socket)
    },
  })
  const publicListener = await freePort()
  await agent.register({
    Name: name,
    Port: app.address.port,
    Connect: {
      SidecarService: {
        Port: publicListener.port,
        Checks: [{ CheckID: `${name}-health`, Name: 'for the test', TTL: '1h', Status: 'passing' }],
        Proxy: { Upstreams: upstreams },
      },
    },
  })
  const sidecar = await startMeshSidecar(t, agent, ['--sidecar-for', name])
  await sidecar.ready()
  return {
    app,
    sidecar,
    publicListener,
    setHealth: health => agent.call('PUT', `/v1/agent/check/${health}/${name}-health`),
    endpoints: async () =>
      (await sidecar.state<{ upstreams: { endpoints: Endpoint[] }[] }>()).upstreams[0]?.endpoints ?? [],
  }
}
