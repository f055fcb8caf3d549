// Section 12, scenarios 3 and 4, with Consul's built-in proxy on one end: the registration's timeouts. The built-in is given the
// shorter one and dialed first; it still waits when sidesplice, by a longer one, has given up: so no clock is asked.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { connect, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { passing, startMixedPair } from '../support/mixed-pair.ts'

const shortMs = 100
const longMs = 500
// Also a connection that is answered has to be ready within it, on a machine that has much to do.
const patientMs = 3_000

test('the built-in keeps no handshake timeout and dials its app for a silent peer; sidesplice keeps it and does not', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent, {
    dbProxy: { Config: { handshake_timeout_ms: shortMs } },
    webProxy: { Config: { handshake_timeout_ms: longMs } },
  })
  const atBuiltIn = connect(t, pair.db.publicListener)
  await pair.db.app.connection()
  const atSidesplice = connect(t, pair.web.publicListener)
  await atSidesplice.isOver()
  assert.match(await pair.sidesplice.command.line('session ended'), /reason=handshake_timeout/)
  assert.equal(pair.web.app.connections.length, 0)
  // The built-in's failures: handshake timeout not kept, app dialed before the handshake.
  const { closed, ended, error } = atBuiltIn
  assert.deepEqual({ closed, ended, error }, { closed: false, ended: false, error: undefined })
})

test("the built-in keeps no upstream's connect timeout; sidesplice does, and its app hears an error", async t => {
  const agent = await startConsul(t)
  const silent = await openApp(t)
  await agent.register({
    ID: 'silent',
    Name: 'silent-proxy',
    Kind: 'connect-proxy',
    Port: silent.address.port,
    Proxy: { DestinationServiceName: 'silent' },
    Checks: passing,
  })
  const [ofWeb, ofDb] = [await freePort(), await freePort()]
  const upstream = (port: number, timeoutMs: number) => ({
    DestinationName: 'silent',
    LocalBindPort: port,
    Config: { connect_timeout_ms: timeoutMs },
  })
  const pair = await startMixedPair(t, agent, {
    webUpstreams: [upstream(ofWeb.port, longMs)],
    dbUpstreams: [upstream(ofDb.port, shortMs)],
  })
  const byBuiltIn = connect(t, ofDb)
  await silent.connection(0)
  const bySidesplice = connect(t, ofWeb)
  await silent.connection(1)
  assert.equal(await bySidesplice.fails(), 'ECONNRESET')
  assert.match(await pair.sidesplice.command.line('session ended'), /reason=connect_timeout/)
  // The built-in's failure: connect timeout not kept.
  const { closed, ended, error } = byBuiltIn
  assert.deepEqual({ closed, ended, error }, { closed: false, ended: false, error: undefined })
  assert.deepEqual(pair.builtIn.linesWith('[ERROR]'), [])
})

test('a built-in that stands still costs sidesplice its connect timeout, and is reached again when it goes on', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent, { webProxy: { Config: { connect_timeout_ms: patientMs } } })
  await pair.builtIn.standStill()
  assert.equal(await pair.toBuiltIn().fails(), 'ECONNRESET')
  assert.match(await pair.sidesplice.command.line('session ended'), /reason=connect_timeout/)
  pair.builtIn.signal('SIGCONT')
  await pair.toBuiltIn().echoes('hello')
})
