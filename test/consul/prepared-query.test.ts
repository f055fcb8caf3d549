// An upstream that is a prepared query: what it answers is dialed, it is asked again when a dial fails, and it outlives the agent.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Address } from '../../src/address.ts'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { connect, freeAddress } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { registerInstance } from '../support/instances.ts'
import { type MeshPair, startMeshPair } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'

/** Makes a query for the service and gives web an upstream of it beside db; resolves once web knows an instance. */
async function queryUpstream(
  t: TestContext,
  agent: ConsulAgent,
  service: string,
): Promise<{ readonly pair: MeshPair; readonly query: Address }> {
  const name = `near-${service}`
  await agent.call('POST', '/v1/query', { Name: name, Service: { Service: service } })
  const query = await freePort()
  const pair = await startMeshPair(t, agent)
  const Upstreams = [
    { DestinationName: 'db', LocalBindPort: pair.upstream.port },
    { DestinationType: 'prepared_query', DestinationName: name, LocalBindPort: query.port },
  ]
  await agent.register(pair.webService({ Upstreams }))
  await eventually(async () => {
    const { upstreams } = await pair.web.state<{ upstreams: { endpoints: object[] }[] }>()
    return upstreams[1]?.endpoints.length === 1
  }, `an answer of ${name}`)
  return { pair, query }
}

function executions(agent: ConsulAgent): number {
  return agent.answered().filter(request => request.includes('/execute?')).length
}

test('an upstream by a prepared query reaches the service that the query names', async t => {
  const agent = await startConsul(t)
  const { pair, query } = await queryUpstream(t, agent, 'db')
  const client = connect(t, query)
  await client.echoes('hello')
  client.socket.end()
  await client.ends()
  assert.match(await pair.web.command.line('session ended'), /service=near-db peer=spiffe:\/\/\S+\/svc\/db /)
})

test('a failed dial asks the query again at once', async t => {
  const agent = await startConsul(t)
  // Nobody listens there.
  await registerInstance(agent, 'gone', await freeAddress())
  const { pair, query } = await queryUpstream(t, agent, 'gone')
  const before = executions(agent)
  // Polled it would be asked each ten seconds: the fourth answer would come too late for this wait.
  await eventually(async () => {
    const client = connect(t, query)
    await client.fails()
    return executions(agent) >= before + 4
  }, 'four answers more')
  assert.match(await pair.web.command.line('session ended'), /reason=connect_failed/)
})

test('the last instance that is deregistered is dropped, by the service and by the query', async t => {
  const agent = await startConsul(t)
  const gone = await freeAddress()
  await registerInstance(agent, 'gone', gone)
  const { pair, query } = await queryUpstream(t, agent, 'gone')
  const service = await freePort()
  const Upstreams = [
    { DestinationName: 'gone', LocalBindPort: service.port },
    { DestinationType: 'prepared_query', DestinationName: 'near-gone', LocalBindPort: query.port },
  ]
  const instances = async () => {
    const { upstreams } = await pair.web.state<{ upstreams: { endpoints: object[] }[] }>()
    return upstreams.map(({ endpoints }) => endpoints.length).join()
  }
  await agent.register(pair.webService({ Upstreams }))
  await eventually(async () => (await instances()) === '1,1', 'an instance for both')
  await agent.call('PUT', `/v1/agent/service/deregister/gone-at-${gone.port}`)
  await eventually(async () => {
    await connect(t, query).fails()
    return (await instances()) === '0,0'
  }, 'no instance for either')
  await connect(t, service).fails()
  assert.match(await pair.web.command.line('reason=no_endpoints'), /service=(near-)?gone /)
})

test('with the agent gone upstreams by service and by query both go on, and one line says so', async t => {
  const agent = await startConsul(t)
  const { pair, query } = await queryUpstream(t, agent, 'db')
  const live = connect(t, query)
  await live.echoes('before')
  await agent.kill()
  await Promise.all([pair.web, pair.db].map(({ command }) => command.line('the agent does not answer')))
  await connect(t, query).echoes('by the query')
  await pair.connect().echoes('by the service')
  await live.echoes(' and after')
  await agent.startAgain()
  await pair.web.command.line('the agent answers again')
  await pair.db.command.line('the agent answers again')
  for (const { command } of [pair.web, pair.db])
    assert.equal(command.linesWith('the agent does not answer').length, 1)
})
