// An instance that accepts and never speaks: how long an app waits for it, and what it sees then.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { connect, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { registerInstance } from '../support/instances.ts'
import { parseLogLine } from '../support/log-lines.ts'
import { startMeshPair } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'

const defaultMs = 10_000

test("an upstream's connect timeout is kept, as a number and as text", async t => {
  const agent = await startConsul(t)
  const silent = await openApp(t)
  await registerInstance(agent, 'silent', silent.address)
  const [number, text] = [await freePort(), await freePort()]
  const upstream = (port: number, timeout: unknown) => ({
    DestinationName: 'silent',
    LocalBindPort: port,
    Config: { connect_timeout_ms: timeout },
  })
  const Upstreams = [upstream(number.port, 500), upstream(text.port, '500')]
  const pair = await startMeshPair(t, agent)
  await agent.register(pair.webService({ Upstreams }))
  for (const [at, address] of [number, text].entries()) {
    await pair.web.command.line(`address=127.0.0.1:${address.port}`)
    await eventually(
      async () => (await pair.web.get('/state')).body.includes(`:${silent.address.port}"`),
      'its instance',
    )
    const client = connect(t, address)
    client.send('hello')
    await client.fails()
    const { fields } = parseLogLine(await pair.web.command.line('session ended', at + 1))
    assert.equal(fields.reason, 'connect_timeout')
    assert.match(String(fields.attempts), /^127\.0\.0\.1:\d+ handshake_timeout \(/)
    const duration = fields.duration_ms as number
    assert.ok(duration >= 500 && duration < defaultMs, `${duration} ms`)
  }
})

test('beside a healthy instance it costs no connection', async t => {
  const agent = await startConsul(t)
  const silent = await openApp(t)
  const pair = await startMeshPair(t, agent)
  const { port } = await freePort()
  // A third of it is for the first instance that is tried.
  const upstream = { DestinationName: 'db', LocalBindPort: port, Config: { connect_timeout_ms: 3_000 } }
  await agent.register(pair.webService({ Upstreams: [upstream] }))
  await pair.web.command.line(`address=127.0.0.1:${port}`)
  await registerInstance(agent, 'db', silent.address)
  await eventually(
    async () => (await pair.web.get('/state')).body.includes(`:${silent.address.port}"`),
    'the silent instance to be known',
  )
  // Of two that are as good as each other either is tried first.
  for (let tried = 0; silent.connections.length === 0; tried++) {
    assert.ok(tried < 100, 'the silent instance was never tried')
    await connect(t, { host: '127.0.0.1', port }).echoes('hello')
  }
})
