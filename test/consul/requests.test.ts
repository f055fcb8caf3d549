// What a sidecar asks of its agent: on how many connections, and in words that the agent knows.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { setCa } from '../support/consul-ca.ts'
import { openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { registerInstance } from '../support/instances.ts'
import { connectionsTo } from '../support/listening.ts'
import { startMeshPair } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'

const services = 10
const queries = 2
// Four for what blocks, two for what does not.
const besideUpstreams = 6

const calls = [
  /^GET \/v1\/agent\/services$/,
  /^GET \/v1\/agent\/service\/db1-sidecar-proxy\?hash=/,
  /^GET \/v1\/agent\/connect\/ca\/roots\?index=/,
  /^GET \/v1\/agent\/connect\/ca\/leaf\/web$/,
  /^GET \/v1\/connect\/intentions\?index=/,
  /^GET \/v1\/connect\/intentions\/match\?by=destination&name=web$/,
  /^POST \/v1\/agent\/connect\/authorize$/,
  /^GET \/v1\/health\/connect\/db\?passing=true&index=/,
  /^GET \/v1\/discovery-chain\/db$/,
  /^GET \/v1\/query\/near-db\/execute\?connect=true$/,
]

test('six connections and one for each service upstream are all that an agent sees', async t => {
  const agent = await startConsul(t)
  const silent = await openApp(t)
  const Upstreams: object[] = []
  for (let at = 0; at < services + queries; at++) {
    const name = `service${at}`
    await registerInstance(agent, name, silent.address)
    const bind = { LocalBindPort: (await freePort()).port }
    if (at < services) {
      Upstreams.push({ DestinationName: name, ...bind })
      continue
    }
    await agent.call('POST', '/v1/query', { Name: `near-${name}`, Service: { Service: name } })
    Upstreams.push({ DestinationType: 'prepared_query', DestinationName: `near-${name}`, ...bind })
  }
  const pair = await startMeshPair(t, agent)
  let most = 0
  const count = () => {
    most = Math.max(most, connectionsTo(pair.web.command.pid, agent.httpPort))
  }
  const has = (what: (state: State) => boolean) =>
    eventually(async () => {
      count()
      return what(await pair.web.state<State>())
    }, 'the state')
  await agent.register(pair.webService({ Upstreams }))
  await has(
    ({ upstreams }) =>
      upstreams.length === services + queries && upstreams.every(({ endpoints }) => endpoints.length === 1),
  )
  // Changes that end several blocking queries at a time, and start calls that do not block.
  for (let change = 1; change <= 3; change++) {
    await agent.intention(`source${change}`, 'web', 'deny')
    const more = { host: '127.0.0.1', port: (await freePort()).port }
    for (let at = 0; at < services; at++) await registerInstance(agent, `service${at}`, more)
    await has(
      ({ upstreams, inbound }) =>
        inbound.intentions.length === change &&
        upstreams.slice(0, services).every(({ endpoints }) => endpoints.length === 1 + change),
    )
  }
  t.diagnostic(`${most} connections`)
  assert.ok(most > services, `${most} connections`)
  assert.ok(most <= services + besideUpstreams, `${most} connections`)
})

interface State {
  readonly upstreams: readonly { readonly endpoints: readonly object[] }[]
  readonly inbound: { readonly intentions: readonly string[] }
}

test('no request has a field or a parameter that the agent refuses', async t => {
  const agent = await startConsul(t)
  await agent.call('POST', '/v1/query', { Name: 'near-db', Service: { Service: 'db' } })
  const query = { DestinationType: 'prepared_query', DestinationName: 'near-db' }
  const Upstreams = [
    { DestinationName: 'db', LocalBindPort: (await freePort()).port },
    { ...query, LocalBindPort: (await freePort()).port },
  ]
  const pair = await startMeshPair(t, agent, { webProxy: { Upstreams } })
  // With these every call is made once more, by its cursor where there is one.
  await agent.intention('web', 'db', 'allow')
  await agent.register(pair.dbService({}, { Port: (await freePort()).port }))
  await setCa(agent)
  await pair.web.command.line('certificate taken up', 2)
  for (const call of calls)
    await eventually(async () => agent.answered().some(request => call.test(request)), String(call))
  assert.doesNotMatch(agent.log, /Request error|\[ERROR\] agent\.http/)
  for (const { command } of [pair.web, pair.db]) assert.equal(command.linesWith('refused').length, 0)
})
