// An instance that another service's proxy answers for: a stale catalog, or somebody who lies to it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { embedded, startConsul } from '../support/consul-agent.ts'
import { connect, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { registerInstance } from '../support/instances.ts'
import { parseLogLine } from '../support/log-lines.ts'
import { startMeshPair } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'

test("an instance that is another service's proxy is not talked to, and that one's app sees nothing", async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  // db's proxy, registered as one of api.
  await registerInstance(agent, 'api', pair.dbPublic)
  const api = await freePort()
  const Upstreams = [
    { DestinationName: 'api', LocalBindPort: api.port },
    { DestinationName: 'db', LocalBindPort: pair.upstream.port },
  ]
  await agent.register(pair.webService({ Upstreams }))
  await eventually(
    async () => (await pair.web.get('/state')).body.includes('svc/api"'),
    'the instance of api to be known',
  )
  const client = connect(t, api)
  client.send('for api alone')
  await client.fails()
  const { fields } = parseLogLine(await pair.web.command.line('session ended'))
  assert.equal(fields.reason, 'connect_failed')
  assert.match(String(fields.attempts), /^127\.0\.0\.1:\d+ identity_mismatch \(.*svc\/db.*svc\/api.*\)$/)
  assert.equal(pair.app.connections.length, 0)
  await pair.connect().echoes('for db')
})

// Where the catalog itself tells DB from db, as the embedded agent's does, it finds none and the sidecar has nothing to say of it.
if (!embedded)
  test('an instance of DB, which the catalog finds for db, is never dialed for it', async t => {
    const agent = await startConsul(t)
    const pair = await startMeshPair(t, agent)
    const other = await openApp(t)
    await registerInstance(agent, 'DB', other.address)
    await pair.web.command.line('expected the same letters in the same case')
    for (let count = 0; count < 5; count++) await pair.connect().echoes(`number ${count}`)
    assert.ok(!(await pair.web.get('/state')).body.includes('svc/DB'))
    assert.equal(other.connections.length, 0)
  })
