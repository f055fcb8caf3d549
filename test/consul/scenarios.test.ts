// More of what a mesh does while its sidecars run: half-close, timeouts, registrations that change, a CA that is exchanged.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { issueCertificate } from '../../src/identity/issue.ts'
import { startConsul } from '../support/consul-agent.ts'
import { connect } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { startMeshPair, startMeshSidecar } from '../support/mesh.ts'

test('an app that answers only after the end of the request is heard', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent, {
    serve: end => {
      end.socket.on('end', () => end.socket.end(`you said ${end.text}`))
    },
  })
  const client = pair.connect()
  client.send('hello')
  client.socket.end()
  await client.ends()
  assert.equal(client.text, 'you said hello')
})

test("a registration's handshake timeout is kept, and the app is not touched", async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent, { dbProxy: { Config: { handshake_timeout_ms: 300 } } })
  const silent = connect(t, pair.dbPublic)
  await silent.isOver()
  assert.match(await pair.db.command.line('session ended'), /reason=handshake_timeout/)
  assert.equal(pair.app.connections.length, 0)
})

test('a sidecar whose registration goes serves on, and follows it again when it is back', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  await agent.call('PUT', '/v1/agent/service/deregister/web1')
  await pair.web.command.line('the agent refused')
  await pair.connect().echoes('still there')
  const moved = await freePort()
  await agent.register(pair.webService({ Upstreams: [{ DestinationName: 'db', LocalBindPort: moved.port }] }))
  await pair.web.command.line(`address=127.0.0.1:${moved.port}`)
})

test('an exchange of the CA costs no connection', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const { TrustDomain } = await agent.call<{ TrustDomain: string }>('GET', '/v1/agent/connect/ca/roots')
  const ca = await issueCertificate({ commonName: 'next CA', ca: true, uris: [`spiffe://${TrustDomain}`] })
  const rotated = agent.call('PUT', '/v1/connect/ca/configuration', {
    Provider: 'consul',
    Config: { PrivateKey: ca.sec1Pem, RootCert: ca.certPem },
  })
  let exchanged = 0
  const both = async () =>
    pair.web.command.linesWith('certificate taken up').length +
    pair.db.command.linesWith('certificate taken up').length
  await rotated
  for (
    const deadlineAt = performance.now() + 60_000;
    ((await both()) < 4 || exchanged < 20) && performance.now() < deadlineAt;
    exchanged++
  ) {
    const client = pair.connect()
    await client.echoes('hello')
    client.socket.end()
    await client.ends()
  }
  assert.ok((await both()) >= 4, 'roots or leaf were exchanged at both')
  await pair.connect().echoes('and after')
  t.diagnostic(`${exchanged} connections meanwhile`)
})

test('a sidecar that starts before its registration waits for it, and says so', async t => {
  const agent = await startConsul(t)
  const sidecar = await startMeshSidecar(t, agent, ['-sidecar-for=LATE1', '-log-level', 'INFO'])
  assert.match(
    await sidecar.command.line('waiting for the registration'),
    / WARN .*; a token without rights hides it wanted=LATE1 agent=http:\/\/127\.0\.0\.1:\d+ services_seen=0$/,
  )
  assert.equal((await sidecar.get('/ready')).status, 503)
  const port = (await freePort()).port
  await agent.register({
    ID: 'late1',
    Name: 'late',
    Port: 1,
    Connect: { SidecarService: { Port: port, Checks: [] } },
  })
  await sidecar.command.line('registration found')
  await sidecar.ready()
})

test('--wait 0 does not wait: exit 2, and the reason says that a token may hide it', async t => {
  const agent = await startConsul(t)
  const sidecar = await startMeshSidecar(t, agent, ['--sidecar-for', 'nobody', '--wait', '0'])
  const { code } = await sidecar.command.end()
  assert.equal(code, 2)
  assert.match(
    sidecar.command.stderr,
    /no proxy is registered for nobody at http:\/\/127\.0\.0\.1:\d+: this token can see 0 services, and may not see it/,
  )
})
