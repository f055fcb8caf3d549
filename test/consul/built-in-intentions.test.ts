// Section 12, scenario 5, with Consul's built-in proxy on one end: an intention that denies.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { startMixedPair } from '../support/mixed-pair.ts'
import { spiffeId } from '../support/pki.ts'
import { eventually } from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'

test('where the built-in admits, a denied peer opens a connection to its app, and a live session lives on; the caller behind sidesplice hears an error', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const live = pair.toBuiltIn()
  await live.echoes('before')
  await agent.intention('web', 'db', 'deny')
  await eventually(async () => !(await authorizes(agent)), 'the intention to be in force')
  const refused = pair.toBuiltIn()
  assert.equal(await refused.fails(), 'ECONNRESET')
  assert.match(await pair.sidesplice.command.line('reason=denied_by_peer'), /alert bad_certificate/)
  await pair.builtIn.line('authz call denied')
  // The built-in's failures: app dialed before the handshake, decided once for all time.
  const touched = await pair.db.app.connection(1)
  assert.equal(touched.received, 0)
  await live.echoes(' and after')
})

test('where sidesplice admits, its app sees nothing of a denied peer, and a live session ends; the caller behind the built-in hears a clean end', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const live = pair.toSidesplice()
  await live.echoes('before')
  await agent.intention('db', 'web', 'deny')
  await live.isOver()
  assert.match(await pair.sidesplice.command.line('session ended'), /reason=no_longer_allowed/)
  const refused = pair.toSidesplice()
  // The built-in's failure: error told as an end. sidesplice has sent it an alert, or on JavaScript reset it.
  await refused.ends()
  assert.equal(refused.received, 0)
  assert.match(await pair.sidesplice.command.line('reason=denied'), /direction=inbound/)
  const told = planeOf('dialing').dataPlane === 'native' ? 'access denied' : 'connection reset by peer'
  await pair.builtIn.line(told, 2)
  assert.equal(pair.web.app.connections.length, 1)
})

/** Whether web may reach db, as the agent tells the built-in, which may be later than the intention is made. */
async function authorizes(agent: ConsulAgent): Promise<boolean> {
  const body = { Target: 'db', ClientCertURI: spiffeId('web'), ClientCertSerial: '01' }
  const answer = await agent.call<{ Authorized: boolean }>('POST', '/v1/agent/connect/authorize', body)
  return answer.Authorized
}
