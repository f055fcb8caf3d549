// An agent that is killed and started again and again, with its mesh or with another one: what a sidecar holds stays what it was.
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import type { Address } from '../../src/address.ts'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { connectionsTo } from '../support/listening.ts'
import { type MeshSidecar, startMeshSidecar } from '../support/mesh.ts'
import { type Held, heldBy, telling } from '../support/resources.ts'
import { eventually, Folder } from '../support/running-sidecar.ts'

// The registration, roots, leaf and the list of intentions are watched, and each service that is an upstream.
const commonWatches = 4
// As many as an agent that crashes every two and a half minutes has in an hour.
const restarts = 24
// Each of these a new cluster: all is registered anew, under another trust domain.
const newClusterEach = 4
// Back-off reaches half a minute, and a call that got no answer takes ten seconds more.
const settleMs = 60_000
const testLimitMs = 400_000

// Code that V8 compiles as it gets hot, 1.6 MB in 80 restarts and no object among it; beyond is a quarter of a megabyte a restart.
const heapMarginBytes = 6 * 1024 * 1024

test('restarts of the agent leave descriptors, timers, handles and connections where they were', {
  timeout: testLimitMs,
}, async t => {
  const rig = await startRig(t)
  const live = connect(t, rig.ports.db)
  await live.echoes('before;')
  // The first restarts load what is loaded once.
  for (let at = 1; at <= newClusterEach; at++) await rig.restart(at)
  const before = await rig.settled()
  const startedAt = performance.now()
  for (let at = 1; at <= restarts; at++) await rig.restart(at)
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  await live.echoes('after')
  const after = await rig.settled(before)
  t.diagnostic(`${restarts} restarts in ${seconds} s`)
  for (const [name, was] of Object.entries(before)) {
    const is = after[name as keyof typeof after]
    t.diagnostic(`${name} before: ${JSON.stringify(was)}`)
    t.diagnostic(`${name} after: ${JSON.stringify(is)}`)
    assert.ok(is.heapBytes < was.heapBytes + heapMarginBytes, `${name}: heap`)
  }
})

interface Rig {
  readonly ports: { readonly db: Address }
  /** Kills the agent under traffic and starts it again; returns once both sidecars follow it. */
  restart(at: number): Promise<void>
  /** What both sidecars hold once they are quiet; where they were before, once that is no more than it was. */
  settled(before?: HeldByBoth): Promise<HeldByBoth>
}

interface HeldByBoth {
  readonly web: Held
  readonly db: Held
}

async function startRig(t: TestContext): Promise<Rig> {
  const folder = await Folder.make(t)
  const dataDir = folder.file('data')
  const config = { connect: { enabled: true }, performance: { raft_multiplier: 1 } }
  const agent = await startConsul(t, { dataDir, config })
  const app = await openApp(t, { serve: echo })
  const ports = {
    web: await freePort(),
    dbPublic: await freePort(),
    db: await freePort(),
    query: await freePort(),
    nobody: await freePort(),
  }
  const upstreams = [
    { DestinationName: 'db', LocalBindPort: ports.db.port },
    { DestinationName: 'nobody', LocalBindPort: ports.nobody.port },
    { DestinationType: 'prepared_query', DestinationName: 'any-db', LocalBindPort: ports.query.port },
  ]
  // On ports of their own each time, so that a listener that is left open is one more.
  const extra = async () => [
    { DestinationName: 'db', Datacenter: 'dc1', LocalBindPort: (await freePort()).port },
    { DestinationType: 'prepared_query', DestinationName: 'none', LocalBindPort: (await freePort()).port },
  ]
  /** With every other registration the proxy stands for another service, and has more upstreams. */
  const registerWeb = async (changed: boolean) =>
    agent.register({
      ID: 'web-proxy',
      Name: 'web-proxy',
      Kind: 'connect-proxy',
      Port: ports.web.port,
      Proxy: {
        DestinationServiceName: changed ? 'web-next' : 'web',
        LocalServicePort: 1,
        Upstreams: changed ? [...upstreams, ...(await extra())] : upstreams,
      },
    })
  const registerRest = async () => {
    await agent.register({
      Name: 'db',
      Port: app.address.port,
      Connect: { SidecarService: { Port: ports.dbPublic.port, Checks: [] } },
    })
    await agent.call('POST', '/v1/query', { Name: 'any-db', Service: { Service: 'db', Connect: true } })
    await agent.intention('stranger', 'db', 'deny')
  }
  await registerRest()
  await registerWeb(false)
  const web = await startMeshSidecar(t, agent, ['--proxy-id', 'web-proxy'], telling)
  const db = await startMeshSidecar(t, agent, ['--sidecar-for', 'db'], telling)
  await Promise.all([web.ready(), db.ready()])
  await eventually(async () => {
    const state = await web.state<{ upstreams: { endpoints: object[] }[] }>()
    return state.upstreams[0]?.endpoints.length === 1
  }, 'db to be found')
  const traffic = () =>
    Promise.all(
      [ports.db, ports.query, ports.nobody].map(async port => {
        const client = connect(t, port)
        client.send('hello')
        client.socket.end()
        await client.isOver()
        client.socket.destroy()
      }),
    )
  return {
    ports,
    async restart(at) {
      await traffic()
      await agent.kill()
      const meanwhile = traffic()
      const newCluster = at % newClusterEach === 0
      if (newCluster) await rm(dataDir, { recursive: true, force: true })
      await agent.startAgain()
      if (newCluster) await registerRest()
      const changed = at % 2 === 1
      await registerWeb(changed)
      await meanwhile
      await follows(web, agent, changed ? 'web-next' : 'web')
      await follows(db, agent, 'db')
    },
    settled: async before => ({
      web: await quiet(web, { agent, watches: commonWatches + 2 }, before?.web),
      db: await quiet(db, { agent, watches: commonWatches }, before?.db),
    }),
  }
}

/** Waits until the sidecar has this service's identity of the agent's present trust domain. */
async function follows(sidecar: MeshSidecar, agent: ConsulAgent, service: string): Promise<void> {
  const { TrustDomain } = await agent.call<{ TrustDomain: string }>('GET', '/v1/agent/connect/ca/roots')
  const id = `spiffe://${TrustDomain}/ns/default/dc/dc1/svc/${service}`
  await eventually(
    async () => (await sidecar.state<{ identity: { id: string } }>()).identity.id === id,
    `${id} in use`,
    settleMs,
  )
}

/**
 * Waits until every watch blocks and no short call is on its way or just over, so that what is counted is always counted in the same
 * state; and, where there is a `before`, until nothing is more than it was.
 */
async function quiet(
  sidecar: MeshSidecar,
  { agent, watches }: { readonly agent: ConsulAgent; readonly watches: number },
  before?: Held,
): Promise<Held> {
  const { pid } = sidecar.command
  let held: Held | undefined
  const look = async () => {
    if (connectionsTo(pid, agent.httpPort) !== watches) return false
    held = await heldBy(sidecar.command, agent.httpPort)
    // A watch that is between two calls leaves its connection idle, and that keeps no process: it would be one more later.
    const allBlock = held.agentConnections === watches && (held.resources.TCPSocketWrap ?? 0) >= watches
    return allBlock && grown(held, before).length === 0 && held
  }
  return eventually(look, 'a quiet sidecar', settleMs).catch((cause: Error) => {
    const now = connectionsTo(pid, agent.httpPort)
    const more = held && grown(held, before)
    throw new Error(`${now} connections, expected ${watches}; grown: ${more}`, { cause })
  })
}

function grown(held: Held, before: Held | undefined): readonly string[] {
  if (before === undefined) return []
  const was: Readonly<Record<string, number>> = countsOf(before)
  return Object.entries(countsOf(held))
    .filter(([name, count]) => count > (was[name] ?? 0))
    .map(([name, count]) => `${name} from ${was[name] ?? 0} to ${count}`)
}

function countsOf({ descriptors, agentConnections, timers, resources }: Held): Record<string, number> {
  return { descriptors, agentConnections, timers, ...resources }
}
