// Traffic in a mesh, and an agent that goes away.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { type MeshSidecar, startMeshPair } from '../support/mesh.ts'
import { planeOf } from '../support/sidecar-planes.ts'

test('two services reach each other by their registrations alone', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const client = pair.connect()
  await client.echoes('hello')
  client.socket.end()
  await client.ends()
  const line = await pair.db.command.line('session ended')
  assert.match(line, / peer=spiffe:\/\/[0-9a-f-]+\.consul\/ns\/default\/dc\/dc1\/svc\/web /)
})

test('both sidecars stand on the data plane that this run is for', async t => {
  const agent = await startConsul(t)
  const { web, db } = await startMeshPair(t, agent)
  const of = async (sidecar: MeshSidecar) => (await sidecar.state<{ data_plane: string }>()).data_plane
  assert.deepEqual([await of(web), await of(db)], [planeOf('dialing').dataPlane, planeOf('dialed').dataPlane])
})

test('with the agent gone everything goes on, and one line says so; with another cluster it is taken up', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const live = pair.connect()
  await live.echoes('before')
  await agent.kill()
  await pair.web.command.line('the agent does not answer')
  await live.echoes('during')
  await pair.connect().echoes('new')
  assert.equal(pair.web.command.linesWith('the agent does not answer').length, 1)
  const before = await pair.web.state<{ identity: { id: string } }>()
  await agent.startAgain()
  await agent.register(pair.webService())
  await agent.register(pair.dbService())
  await pair.web.command.line('the agent answers again')
  await pair.web.command.line('certificate taken up', 2)
  await pair.db.command.line('certificate taken up', 2)
  const after = await pair.web.state<{ identity: { id: string } }>()
  assert.notEqual(after.identity.id, before.identity.id)
  await live.echoes('still there')
})
