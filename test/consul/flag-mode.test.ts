// Sidecars without a registration: flags describe them, and everything else comes from the agent as ever.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import { startConsul } from '../support/consul-agent.ts'
import { connect } from '../support/ends.ts'
import { checkBecomes, launchRegistered } from '../support/flagged-mesh.ts'
import { freePort } from '../support/free-ports.ts'
import { startMeshSidecar } from '../support/mesh.ts'

test('two services reach each other by flags alone, and an intention decides between them', async t => {
  const agent = await startConsul(t)
  const db = await launchRegistered(t, agent)
  await checkBecomes(agent, 'db-proxy-ttl', 'passing')
  await agent.call('POST', '/v1/query', { Name: 'near-db', Service: { Service: 'db', Connect: true } })
  const [first, second, query] = [await freePort(), await freePort(), await freePort()]
  const web = await startMeshSidecar(t, agent, [
    ...['-service', 'web', '-upstream', `db:${first.port}`, `-upstream=db:127.0.0.1:${second.port}`],
    ...['-upstream', `near-db.query:${query.port}`],
  ])
  await web.ready()
  for (const upstream of [first, second, query]) {
    const client = connect(t, upstream)
    await client.echoes(`by ${formatAddress(upstream)}`)
    client.socket.end()
    await client.ends()
  }
  const line = await db.sidecar.command.line('session ended')
  assert.match(line, / peer=spiffe:\/\/[0-9a-f-]+\.consul\/ns\/default\/dc\/dc1\/svc\/web /)
  await web.command.line('Public listener: disabled')

  const live = connect(t, first)
  await live.echoes('hello')
  await agent.intention('web', 'db', 'deny')
  await live.isOver()
  const seen = db.app.connections.length
  const refused = connect(t, first)
  refused.send('hello')
  await refused.isOver()
  assert.equal(refused.received, 0)
  assert.equal(db.app.connections.length, seen)
})

test('without --register nothing is registered', async t => {
  const agent = await startConsul(t)
  const listen = await freePort()
  const sidecar = await startMeshSidecar(t, agent, [
    ...['--service', 'web', '--listen', formatAddress(listen), '--service-addr', '127.0.0.1:1'],
  ])
  await sidecar.ready()
  assert.deepEqual(await agent.call('GET', '/v1/agent/services'), {})
  assert.deepEqual(
    (await sidecar.state<{ inbound: { listen: string } }>()).inbound.listen,
    formatAddress(listen),
  )
})
