// Section 12, scenarios 6 and 7, with Consul's built-in proxy on one end: registrations that change, go and come back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { connect } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { catalogHas, knowsEndpoints, startMixedPair } from '../support/mixed-pair.ts'

test('an upstream that is removed is served on by the built-in, by sidesplice not; both open the new one, and sessions live on', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const [toBuiltIn, toSidesplice] = [pair.toBuiltIn(), pair.toSidesplice()]
  await toBuiltIn.echoes('before')
  await toSidesplice.echoes('before')
  const [ofWeb, ofDb] = [await freePort(), await freePort()]
  await pair.web.register({ Upstreams: [{ DestinationName: 'db', LocalBindPort: ofWeb.port }] })
  await pair.db.register({ Upstreams: [{ DestinationName: 'web', LocalBindPort: ofDb.port }] })

  await pair.sidesplice.command.line(`address=127.0.0.1:${ofWeb.port}`)
  await connect(t, ofWeb).echoes('hello')
  assert.equal(await pair.toBuiltIn().fails(), 'ECONNREFUSED')

  await pair.builtIn.listens(ofDb.port)
  await connect(t, ofDb).echoes('hello')
  // The built-in's failure: removed upstream served on.
  await pair.toSidesplice().echoes('hello')

  await toBuiltIn.echoes(' and after')
  await toSidesplice.echoes(' and after')
})

test('an upstream that stays is bound a second time by the built-in, which fails and is only logged; sidesplice leaves it alone', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const [ofWeb, ofDb] = [await freePort(), await freePort()]
  await pair.web.register({
    Upstreams: [
      { DestinationName: 'db', LocalBindPort: pair.web.upstream.port },
      { DestinationName: 'db', LocalBindPort: ofWeb.port },
    ],
  })
  await pair.db.register({
    Upstreams: [
      { DestinationName: 'web', LocalBindPort: pair.db.upstream.port },
      { DestinationName: 'web', LocalBindPort: ofDb.port },
    ],
  })
  // The built-in's failure: kept upstream bound twice.
  await pair.builtIn.line('address already in use')
  await pair.builtIn.listens(ofDb.port)
  await pair.sidesplice.command.line(`address=127.0.0.1:${ofWeb.port}`)
  for (const address of [ofWeb, ofDb, pair.web.upstream, pair.db.upstream])
    await connect(t, address).echoes('hello')
  assert.deepEqual(pair.sidesplice.command.linesWith(' ERROR '), [])
  assert.equal(pair.sidesplice.command.linesWith(`address=127.0.0.1:${pair.web.upstream.port}`).length, 1)
})

test('a public listener that moves is left where it was by the built-in, so nobody finds it; sidesplice moves its own', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const [ofWeb, ofDb] = [await freePort(), await freePort()]
  await pair.web.register({}, { Port: ofWeb.port })
  await pair.sidesplice.command.line(`address=0.0.0.0:${ofWeb.port}`)
  await catalogHas(agent, 'web', ofWeb.port)
  await pair.toSidesplice().echoes('hello')
  assert.equal(await connect(t, pair.web.publicListener).fails(), 'ECONNREFUSED')

  await pair.db.register({}, { Port: ofDb.port })
  // It has acted upon that registration: its upstream is bound anew.
  await pair.builtIn.line('address already in use')
  // The built-in's failure: public listener not moved. The catalog names a port that nobody listens on.
  assert.equal(await connect(t, ofDb).fails(), 'ECONNREFUSED')
  assert.ok(pair.builtIn.ports.includes(pair.db.publicListener.port))
})

test('deregistered, both serve on; sidesplice follows its registration when it is back, and so does the built-in', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const [toBuiltIn, toSidesplice] = [pair.toBuiltIn(), pair.toSidesplice()]
  await toBuiltIn.echoes('before')
  await toSidesplice.echoes('before')

  await agent.call('PUT', '/v1/agent/service/deregister/web1')
  await pair.sidesplice.command.line('the agent refused')
  // db is registered: sidesplice serves its own upstream as before.
  await pair.toBuiltIn().echoes('still there')
  // web is not, so the built-in has nowhere to go. Its failure: error told as an end.
  await catalogHas(agent, 'web', undefined)
  const nowhere = pair.toSidesplice()
  await nowhere.ends()
  await pair.builtIn.line('no healthy instances found')
  const moved = await freePort()
  await pair.web.register({ Upstreams: [{ DestinationName: 'db', LocalBindPort: moved.port }] })
  await pair.sidesplice.command.line(`address=127.0.0.1:${moved.port}`)
  await catalogHas(agent, 'web', pair.web.publicListener.port)
  await pair.toSidesplice().echoes('back')

  await agent.call('PUT', '/v1/agent/service/deregister/db1')
  await pair.builtIn.line('Watch errored')
  await knowsEndpoints(pair.sidesplice, 'db', 0)
  assert.equal(await connect(t, moved).fails(), 'ECONNRESET')
  assert.match(await pair.sidesplice.command.line('reason=no_endpoints'), /direction=outbound/)
  await pair.toSidesplice().echoes('still there')
  const movedToo = await freePort()
  await pair.db.register({ Upstreams: [{ DestinationName: 'web', LocalBindPort: movedToo.port }] })
  await knowsEndpoints(pair.sidesplice, 'db', 1)
  await connect(t, moved).echoes('back')
  await pair.builtIn.listens(movedToo.port)

  await toBuiltIn.echoes(' and after')
  await toSidesplice.echoes(' and after')
})
