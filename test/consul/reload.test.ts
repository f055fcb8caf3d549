// Registrations that change while their sidecars run: taken up by what differs, live sessions untouched.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { type MeshPair, type MeshSidecar, startMeshPair } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'

/** Waits until web's sidecar knows db by this port alone. */
async function webFinds(pair: MeshPair, port: number): Promise<void> {
  await eventually(async () => {
    const { upstreams } = await pair.web.state<{ upstreams: { endpoints: { address: string }[] }[] }>()
    return upstreams[0]?.endpoints.map(({ address }) => address).join() === `127.0.0.1:${port}`
  }, `db at ${port}`)
}

async function generationOf(sidecar: MeshSidecar): Promise<number> {
  return (await sidecar.state<{ generation: number }>()).generation
}

test('an upstream that is added is served beside the others, and one that is removed is not any more', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const live = pair.connect()
  await live.echoes('before')
  const added = await freePort()
  const upstream = ({ port }: { readonly port: number }) => ({ DestinationName: 'db', LocalBindPort: port })
  await agent.register(pair.webService({ Upstreams: [upstream(pair.upstream), upstream(added)] }))
  await pair.web.command.line(`address=127.0.0.1:${added.port}`)
  await connect(t, added).echoes('by the new one')
  await pair.connect().echoes('by the old one')
  await agent.register(pair.webService({ Upstreams: [upstream(added)] }))
  await pair.web.command.line('stopped listening')
  await connect(t, pair.upstream).fails()
  await connect(t, added).echoes('by the new one')
  await live.echoes(' and after')
})

test('an upstream that moves to another port is served there, and its sessions live on', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const live = pair.connect()
  await live.echoes('before')
  const moved = await freePort()
  await agent.register(pair.webService({ Upstreams: [{ DestinationName: 'db', LocalBindPort: moved.port }] }))
  await pair.web.command.line(`address=127.0.0.1:${moved.port}`)
  await connect(t, moved).echoes('hello')
  await connect(t, pair.upstream).fails()
  await live.echoes(' and after')
})

test('a public listener moves with the port of its registration', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const live = pair.connect()
  await live.echoes('before')
  const moved = await freePort()
  await agent.register(pair.dbService({}, { Port: moved.port }))
  await pair.db.command.line(`address=0.0.0.0:${moved.port}`)
  await webFinds(pair, moved.port)
  await pair.connect().echoes('hello')
  await connect(t, pair.dbPublic).fails()
  await live.echoes(' and after')
})

test("bind_port goes before the registration's port, as a number and as text", async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  let former = pair.dbPublic
  for (const form of [Number, String]) {
    const bound = await freePort()
    await agent.register(pair.dbService({ Config: { bind_port: form(bound.port) } }))
    await pair.db.command.line(`address=0.0.0.0:${bound.port}`)
    await connect(t, former).fails()
    connect(t, bound).socket.end()
    former = bound
  }
})

test("the local service's port that changes is dialed from then on, live sessions stay where they are", async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const other = await openApp(t, { serve: echo })
  const live = pair.connect()
  await live.echoes('before')
  const before = await generationOf(pair.db)
  await agent.register(pair.dbService({ LocalServicePort: other.address.port }))
  await eventually(async () => (await generationOf(pair.db)) > before, 'the change')
  await pair.connect().echoes('hello')
  assert.equal(other.connections.length, 1)
  assert.equal(pair.app.connections.length, 1)
  await live.echoes(' and after')
})

test('a registration that is renewed, or changed in what says nothing to a sidecar, is no new generation', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const before = await generationOf(pair.db)
  await agent.register(pair.dbService())
  const heard = answersToTheWatch(agent)
  await agent.register(pair.dbService({}, { Tags: ['v2'] }))
  await until(() => answersToTheWatch(agent) > heard, 'the tags to be told')
  await agent.register(pair.dbService({ Config: { local_connect_timeout_ms: 900 } }, { Tags: ['v2'] }))
  await eventually(async () => (await generationOf(pair.db)) > before, 'the change')
  assert.equal(answersToTheWatch(agent), heard + 2)
  assert.equal(await generationOf(pair.db), before + 1)
})

function answersToTheWatch(agent: ConsulAgent): number {
  return agent.answered().filter(request => /\/db1-sidecar-proxy\?.*hash=/.test(request)).length
}
