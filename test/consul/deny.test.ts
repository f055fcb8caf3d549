// What a denying intention does: to new connections, to live ones, to those on their way; and which of several speaks.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openBlackHole } from '../support/black-hole.ts'
import { serviceToken, startConsulWithAcls } from '../support/consul-acls.ts'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { type MeshPair, startMeshPair } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'

/** Waits until db's sidecar goes by just these intentions. */
async function knows(pair: MeshPair, ...rules: readonly string[]): Promise<void> {
  await eventually(async () => {
    const { inbound } = await pair.db.state<{ inbound?: { intentions: readonly string[] } }>()
    return inbound?.intentions.toSorted().join() === rules.toSorted().join()
  }, `intentions ${rules}`)
}

async function isRefused(pair: MeshPair): Promise<void> {
  const seen = pair.app.connections.length
  const client = pair.connect()
  client.send('hello')
  await client.fails()
  assert.equal(client.received, 0)
  assert.equal(pair.app.connections.length, seen, 'the app saw it')
}

async function replaceIntention(agent: ConsulAgent, id: string, action: 'allow' | 'deny'): Promise<void> {
  const rule = { SourceName: 'web', DestinationName: 'db', Action: action }
  await agent.call('PUT', `/v1/connect/intentions/${id}`, rule)
}

async function removeIntention(agent: ConsulAgent, id: string): Promise<void> {
  await agent.call('DELETE', `/v1/connect/intentions/${id}`)
}

test('a denying intention ends live sessions by an error at both apps', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const live = pair.connect()
  await live.echoes('hello')
  await agent.intention('web', 'db', 'deny')
  await live.fails()
  await (await pair.app.connection()).fails()
  assert.match(await pair.db.command.line('session ended'), /reason=no_longer_allowed/)
})

test('a denied app sees an error, the other app nothing, and the line names the peer and the intention', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  await agent.intention('web', 'db', 'deny')
  await knows(pair, 'deny default/web => default/db')
  await isRefused(pair)
  const line = await pair.db.command.line('session ended')
  assert.match(line, /svc\/web .* reason=denied detail="intention deny default\/web => default\/db"$/)
})

test('a session that still dials its app is ended as well', async t => {
  const agent = await startConsul(t)
  const hole = await openBlackHole(t)
  const config = { local_connect_timeout_ms: 600_000 }
  const pair = await startMeshPair(t, agent, { dbProxy: { LocalServicePort: hole.port, Config: config } })
  const client = pair.connect()
  client.send('hello')
  await eventually(
    async () => (await pair.db.get('/sessions')).body.includes('"dialing"'),
    'a session that dials the app',
  )
  await agent.intention('web', 'db', 'deny')
  await client.fails()
  assert.match(await pair.db.command.line('session ended'), /svc\/web .* reason=no_longer_allowed/)
})

test('end_denied_sessions false in the registration spares live sessions and no new ones', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent, { dbProxy: { Config: { end_denied_sessions: false } } })
  const live = pair.connect()
  await live.echoes('before')
  await agent.intention('web', 'db', 'deny')
  await knows(pair, 'deny default/web => default/db')
  await isRefused(pair)
  await live.echoes(' and after')
})

test('an intention that is changed or deleted holds as it is now', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const id = await agent.intention('web', 'db', 'deny')
  await knows(pair, 'deny default/web => default/db')
  await isRefused(pair)
  await replaceIntention(agent, id, 'allow')
  await knows(pair, 'allow default/web => default/db')
  const live = pair.connect()
  await live.echoes('allowed')
  await replaceIntention(agent, id, 'deny')
  await live.fails()
  await isRefused(pair)
  await removeIntention(agent, id)
  await knows(pair)
  await pair.connect().echoes('allowed by default')
})

test('the most exact intention speaks, the destination before the source', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  await agent.intention('*', 'db', 'deny')
  await knows(pair, 'deny default/* => default/db')
  await isRefused(pair)
  assert.match(
    await pair.db.command.line('session ended'),
    /detail="intention deny default\/\* => default\/db"/,
  )
  // Exact in its source alone: the one above goes before it.
  await agent.intention('web', '*', 'allow')
  await knows(pair, 'deny default/* => default/db', 'allow default/web => default/*')
  await isRefused(pair)
  const exact = await agent.intention('web', 'db', 'allow')
  await knows(
    pair,
    'deny default/* => default/db',
    'allow default/web => default/*',
    'allow default/web => default/db',
  )
  const live = pair.connect()
  await live.echoes('allowed')
  await removeIntention(agent, exact)
  await live.fails()
})

test('with the agent gone the last known intentions hold', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  await agent.intention('web', 'db', 'deny')
  await knows(pair, 'deny default/web => default/db')
  await agent.kill()
  await pair.db.command.line('the agent does not answer')
  await isRefused(pair)
  assert.match(await pair.db.command.line('session ended'), /reason=denied/)
})

test('where the default is deny, the end of an allowing intention ends its sessions', async t => {
  const agent = await startConsulWithAcls(t)
  const id = await agent.intention('web', 'db', 'allow')
  const token = async (service: string) => ['--token', (await serviceToken(agent, service)).SecretID]
  const pair = await startMeshPair(t, agent, { webArgs: await token('web'), dbArgs: await token('db') })
  const live = pair.connect()
  await live.echoes('allowed')
  await removeIntention(agent, id)
  await live.fails()
  await isRefused(pair)
  const line = await pair.db.command.line('session ended', 2)
  assert.match(line, /reason=denied detail="no intention, and the default is deny"/)
})
