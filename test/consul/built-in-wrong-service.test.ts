// Section 12, scenario 11, with Consul's built-in proxy on one end: the catalog names a proxy that stands for another service.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { connect } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { catalogHas, knowsEndpoints, passing, startMixedPair } from '../support/mixed-pair.ts'

test("an instance that is another service's proxy is refused by both ends before a byte; the caller behind the built-in hears a clean end", async t => {
  const agent = await startConsul(t)
  const [ofWeb, ofDb] = [await freePort(), await freePort()]
  const pair = await startMixedPair(t, agent, {
    webUpstreams: [{ DestinationName: 'api', LocalBindPort: ofWeb.port }],
    dbUpstreams: [{ DestinationName: 'cache', LocalBindPort: ofDb.port }],
  })
  for (const [service, { publicListener }] of [
    ['api', pair.db],
    ['cache', pair.web],
  ] as const) {
    await agent.register({
      Name: `${service}-proxy`,
      Kind: 'connect-proxy',
      Port: publicListener.port,
      Proxy: { DestinationServiceName: service },
      Checks: passing,
    })
    await catalogHas(agent, service, publicListener.port)
  }
  await knowsEndpoints(pair.sidesplice, 'api', 1)

  const bySidesplice = connect(t, ofWeb)
  bySidesplice.send('hello')
  assert.equal(await bySidesplice.fails(), 'ECONNRESET')
  const line = await pair.sidesplice.command.line('session ended')
  assert.match(line, / service=api .* identity_mismatch /)

  const byBuiltIn = connect(t, ofDb)
  // The built-in's failure: error told as an end.
  await byBuiltIn.ends()
  assert.equal(byBuiltIn.received, 0)
  await pair.builtIn.line('peer certificate mismatch')

  for (const { app } of [pair.db, pair.web])
    assert.deepEqual(
      app.connections.filter(({ received }) => received > 0),
      [],
    )
  await pair.toBuiltIn().echoes('hello')
  await pair.toSidesplice().echoes('hello')
})
