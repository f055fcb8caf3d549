// Section 12, scenarios 1 and 15, with Consul's built-in proxy on one end: what each end asks of the agent.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import type { End } from '../support/ends.ts'
import { startMixedPair } from '../support/mixed-pair.ts'
import { type RecordedAgent, recordAgent } from '../support/recorded-agent.ts'

const connections = 5

test('sidesplice and the built-in reach each other; a connection costs the built-in one call, sidesplice none', async t => {
  const agent = await startConsul(t)
  const [webAgent, dbAgent] = [await recordAgent(t, agent), await recordAgent(t, agent)]
  const pair = await startMixedPair(t, agent, { webAgent, dbAgent })
  const authorize = (one: RecordedAgent) => one.to('/v1/agent/connect/authorize').length
  // A watch that is answered meanwhile is no call for a connection.
  const discovery = (one: RecordedAgent) =>
    one.to('/v1/health/connect/').filter(({ path }) => !path.includes('index=')).length
  const all = () => [authorize(webAgent), discovery(webAgent), authorize(dbAgent), discovery(dbAgent)]
  const before = all()
  const added = () => all().map((count, at) => count - (before[at] ?? 0))
  for (let at = 0; at < connections; at++) await exchange(pair.toBuiltIn())
  // The built-in's failure: a call for each connection.
  assert.deepEqual(added(), [0, 0, connections, 0], 'before it lets anybody in')
  for (let at = 0; at < connections; at++) await exchange(pair.toSidesplice())
  assert.deepEqual(added(), [0, 0, connections, connections], 'before it dials')
  await pair.sidesplice.command.line('session ended', 2 * connections)
  for (const direction of ['outbound', 'inbound']) {
    const lines = pair.sidesplice.command.linesWith(` direction=${direction} `).join('\n')
    const whole = / peer=spiffe:\S+\/svc\/db .* bytes_to_upstream=5 bytes_to_downstream=5 /g
    assert.equal(lines.match(whole)?.length, connections, lines)
  }
})

test('an unknown field is refused by this agent: neither end sends one, and no answer to them is a 400', async t => {
  const agent = await startConsul(t)
  const uri = 'spiffe://any.consul/ns/default/dc/dc1/svc/web'
  const known = { Target: 'db', ClientCertURI: uri, ClientCertSerial: '01' }
  const path = '/v1/agent/connect/authorize'
  assert.equal((await agent.send('POST', path, known)).status, 200)
  const unknown = await agent.send('POST', path, { ...known, Namespace: 'default' })
  assert.equal(unknown.status, 400)
  assert.match(unknown.body, /unknown field "Namespace"/)

  const [webAgent, dbAgent] = [await recordAgent(t, agent), await recordAgent(t, agent)]
  const pair = await startMixedPair(t, agent, { webAgent, dbAgent })
  await exchange(pair.toBuiltIn())
  await exchange(pair.toSidesplice())
  for (const [name, { calls }] of Object.entries({ webAgent, dbAgent })) {
    const asked = calls.filter(call => call.path === path)
    assert.ok(asked.length > 0, `${name}: authorize was asked`)
    for (const { body } of asked) assert.deepEqual(Object.keys(JSON.parse(body)), Object.keys(known), name)
    assert.deepEqual(
      calls.filter(({ status }) => status !== 200),
      [],
      name,
    )
  }
})

async function exchange(client: End): Promise<void> {
  await client.echoes('hello')
  client.socket.end()
  await client.ends()
}
