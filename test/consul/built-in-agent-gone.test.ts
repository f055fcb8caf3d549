// Section 12, scenarios 8 and 9, with Consul's built-in proxy on one end: an agent that goes, and another cluster in its place.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fetchLeaf, fetchRoots } from '../support/agent-certificates.ts'
import { startConsul } from '../support/consul-agent.ts'
import type { End } from '../support/ends.ts'
import { startMixedPair } from '../support/mixed-pair.ts'
import { eventually } from '../support/running-sidecar.ts'
import { tlsConnect } from '../support/tls-peers.ts'

test('with the agent gone the built-in lets nobody in and dials nobody; sidesplice does both by what it knows, and sessions live on', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const [toBuiltIn, toSidesplice] = [pair.toBuiltIn(), pair.toSidesplice()]
  await toBuiltIn.echoes('before')
  await toSidesplice.echoes('before')
  const peer = { certificate: await fetchLeaf(agent, 'db'), root: await fetchRoots(agent) }
  await agent.kill()
  await pair.sidesplice.command.line('the agent does not answer')

  // sidesplice knows where to dial. The built-in's failures: stops with the agent, app dialed before the handshake.
  assert.equal(await pair.toBuiltIn().fails(), 'ECONNRESET')
  await pair.builtIn.line('authz call failed')
  const line = await pair.sidesplice.command.line('reason=denied_by_peer')
  assert.match(line, new RegExp(` endpoint=127.0.0.1:${pair.db.publicListener.port} `))
  assert.equal((await pair.db.app.connection(1)).received, 0)

  // The built-in's failures: stops with the agent, error told as an end. sidesplice lets in who dials it.
  await pair.toSidesplice().ends()
  assert.match(await pair.builtIn.line('proxy.upstream: failed to dial'), /connection refused/)
  await tlsConnect(t, pair.web.publicListener, peer).echoes('hello')

  await toBuiltIn.echoes(' and after')
  await toSidesplice.echoes(' and after')
  assert.equal(pair.sidesplice.command.linesWith('the agent does not answer').length, 1)
})

test('another cluster in its place is taken up by both ends, and the old one is not trusted any more', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const [toBuiltIn, toSidesplice] = [pair.toBuiltIn(), pair.toSidesplice()]
  await toBuiltIn.echoes('before')
  await toSidesplice.echoes('before')
  const former = { web: await fetchLeaf(agent, 'web'), db: await fetchLeaf(agent, 'db') }
  await agent.kill()
  await agent.startAgain()
  await pair.web.register()
  await pair.db.register()
  const root = await fetchRoots(agent)
  await pair.sidesplice.command.line(`certificate taken up id=spiffe://${root.trustDomain}/`)
  // The built-in tries again five seconds after it lost its agent.
  await pair.builtIn.takes(2)
  await eventually(() => worksWith(pair.toBuiltIn()), 'the built-in to let in by the new cluster')
  await eventually(() => worksWith(pair.toSidesplice()), 'the built-in to dial by the new cluster')

  const atSidesplice = tlsConnect(t, pair.web.publicListener, { certificate: former.db, root })
  await atSidesplice.isOver()
  assert.equal(atSidesplice.received, 0)
  assert.match(
    await pair.sidesplice.command.line('reason=peer_certificate_refused detail'),
    / direction=inbound /,
  )
  const atBuiltIn = tlsConnect(t, pair.db.publicListener, { certificate: former.web, root })
  assert.match(await atBuiltIn.fails(), /ALERT_BAD_CERTIFICATE$/)

  await toBuiltIn.echoes(' and after')
  await toSidesplice.echoes(' and after')
})

async function worksWith(client: End): Promise<boolean> {
  client.send('hello')
  await client.gets('hello').catch(() => undefined)
  client.socket.destroy()
  return client.text === 'hello'
}
