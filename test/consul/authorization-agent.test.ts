// `authorization: agent`: the agent decides about each inbound connection.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { issueCertificate } from '../../src/identity/issue.ts'
import { openBlackHole } from '../support/black-hole.ts'
import { serviceToken, startConsulWithAcls } from '../support/consul-acls.ts'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { type MeshPair, type MeshSidecar, startMeshPair, startMeshSidecar } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'
import { tlsConnect } from '../support/tls-peers.ts'
import { settled, until } from '../support/until.ts'

const byAgent = { dbProxy: { Config: { authorization: 'agent' } } }
const asked = (agent: ConsulAgent) =>
  agent.log.split('\n').filter(line => line.includes('/v1/agent/connect/authorize')).length

/** Who authorizes, as /state has it. */
async function authorizedBy(sidecar: MeshSidecar): Promise<string | undefined> {
  return (await sidecar.state<{ inbound?: { authorization: string } }>()).inbound?.authorization
}

/** Whether a new connection is served; false where it is refused. */
async function isServed(pair: MeshPair): Promise<boolean> {
  const client = pair.connect()
  client.send('hello')
  await until(() => client.text === 'hello' || client.ended || client.closed || client.error, 'an end')
  return client.text === 'hello'
}

/** Waits for a connection that is refused, since an agent may take a moment to decide anew; the `count`th line that says so. */
async function refused(pair: MeshPair, count = 1): Promise<string> {
  await eventually(async () => !(await isServed(pair)), 'a refusal')
  return pair.db.command.line('reason=denied', count)
}

/** A CA of our own for the mesh, so that certificates can be made that an agent never issues. */
async function ownCa(agent: ConsulAgent) {
  const { TrustDomain } = await agent.call<{ TrustDomain: string }>('GET', '/v1/agent/connect/ca/roots')
  const ca = await issueCertificate({ commonName: 'own CA', ca: true, uris: [`spiffe://${TrustDomain}`] })
  await agent.call('PUT', '/v1/connect/ca/configuration', {
    Provider: 'consul',
    Config: { PrivateKey: ca.sec1Pem, RootCert: ca.certPem },
  })
  const { Roots } = await agent.call<{ Roots: { RootCert: string }[] }>('GET', '/v1/agent/connect/ca/roots')
  return { ca, roots: Roots.map(({ RootCert }) => RootCert).join('\n'), trustDomain: TrustDomain }
}

describe('where the agent authorizes', { concurrency: 2 }, () => {
  test('each connection is a question to it, and its word counts', async t => {
    const agent = await startConsul(t)
    const pair = await startMeshPair(t, agent, byAgent)
    assert.equal(await authorizedBy(pair.db), 'agent')
    assert.equal(await authorizedBy(pair.web), 'intentions')
    const before = await settled(() => asked(agent), 'questions', 1_500)
    for (const _ of [1, 2, 3]) await pair.connect().echoes('hello')
    await until(() => asked(agent) === before + 3, 'three questions')
    await agent.intention('web', 'db', 'deny')
    assert.match(
      await refused(pair),
      /detail="the agent: Matched intention: DENY default\/web => default\/db/,
    )
    const seen = pair.app.connections.length
    await refused(pair, 2)
    assert.equal(pair.app.connections.length, seen, 'the app sees nothing of a peer that is denied')
  })

  test('a new intention ends the sessions that it denies, and leaves the others', async t => {
    const agent = await startConsul(t)
    const pair = await startMeshPair(t, agent, byAgent)
    const live = pair.connect()
    await live.echoes('hello')
    const before = await settled(() => asked(agent), 'questions', 1_500)
    await agent.intention('api', 'db', 'deny')
    await until(() => asked(agent) >= before + 2, 'the agent to be asked about the session, and again')
    await live.echoes(' and on')
    await agent.intention('web', 'db', 'deny')
    const deniedAt = performance.now()
    await live.isOver()
    t.diagnostic(`ended after ${Math.round(performance.now() - deniedAt)} ms`)
    assert.match(await pair.db.command.line('session ended'), /reason=no_longer_allowed/)
    await refused(pair)
  })

  test('a new intention ends a session that is still dialing', async t => {
    const agent = await startConsul(t)
    const blackHole = await openBlackHole(t)
    const Config = { authorization: 'agent', local_connect_timeout_ms: 60_000 }
    const dbProxy = { LocalServicePort: blackHole.port, Config }
    const pair = await startMeshPair(t, agent, { dbProxy })
    const client = pair.connect()
    client.send('hello')
    await eventually(async () => (await pair.db.get('/sessions')).body.includes('"dialing"'), 'dialing')
    await agent.intention('web', 'db', 'deny')
    await client.isOver()
    assert.match(await pair.db.command.line('session ended'), /reason=no_longer_allowed/)
  })

  test('where denied sessions are not to be ended they go on, and new ones are refused', async t => {
    const agent = await startConsul(t)
    const Config = { authorization: 'agent', end_denied_sessions: false }
    const pair = await startMeshPair(t, agent, { dbProxy: { Config } })
    const live = pair.connect()
    await live.echoes('hello')
    const applied = pair.db.command.linesWith('configuration applied').length
    await agent.intention('web', 'db', 'deny')
    await refused(pair)
    await pair.db.command.line('configuration applied', applied + 1)
    await live.echoes(' and on')
    assert.equal(pair.db.command.linesWith('no_longer_allowed').length, 0)
  })

  test('with the agent gone new connections are refused and the refusal says why, while live ones go on', async t => {
    const agent = await startConsul(t)
    const pair = await startMeshPair(t, agent, byAgent)
    const live = pair.connect()
    await live.echoes('hello')
    await agent.kill()
    await pair.db.command.line('the agent does not answer')
    assert.match(await refused(pair), /detail="the agent did not decide: .*ECONNREFUSED/)
    await live.echoes(' and on')
    assert.equal((await pair.db.get('/ready')).status, 200)
    assert.equal(pair.app.connections.length, 1)
  })

  test('an agent that hangs is waited for within the time limit, and not for longer', async t => {
    const agent = await startConsul(t)
    const pair = await startMeshPair(t, agent, byAgent)
    await pair.connect().echoes('hello')
    agent.signal('SIGSTOP')
    assert.match(await refused(pair), /detail="the agent did not decide: no answer within 1800 ms"/)
    agent.signal('SIGCONT')
    await eventually(() => isServed(pair), 'a connection, once it answers again')
  })

  test('a peer of another trust domain, or without one SPIFFE ID, is not asked about', async t => {
    const agent = await startConsul(t)
    const pair = await startMeshPair(t, agent, byAgent)
    const { ca, roots, trustDomain } = await ownCa(agent)
    await pair.db.command.line('roots=2')
    const peer = async (...uris: readonly string[]) => {
      const certificate = await issueCertificate({ commonName: 'peer', issuer: ca, uris })
      return tlsConnect(t, pair.dbPublic, { certificate, root: { ...ca, certPem: roots } })
    }
    const web = (domain: string) => `spiffe://${domain}/ns/default/dc/dc1/svc/web`
    const before = await settled(() => asked(agent), 'questions', 1_500)
    await (await peer(web('other.consul'))).isOver()
    await pair.db.command.line('reason=foreign_trust_domain')
    await (await peer(web(trustDomain), web(trustDomain))).isOver()
    await (await peer('https://db.example/web')).isOver()
    await pair.db.command.line('reason=peer_identity_refused', 2)
    await (await peer(`spiffe://${trustDomain}/agent/client/dc/dc1/id/n1`)).isOver()
    assert.match(await pair.db.command.line('reason=denied'), /detail="not the ID of a Consul service"/)
    await (await peer(web(trustDomain))).echoes('one of ours')
    await until(() => asked(agent) > before, 'the one question')
    assert.equal(asked(agent), before + 1)
  })

  test('a token that the agent refuses admits nobody, and readiness does not wait for intentions', async t => {
    const agent = await startConsulWithAcls(t)
    const rules = `service "db" { policy = "write" intentions = "deny" }
      service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }`
    await eventually(
      async () =>
        (await agent.send('PUT', '/v1/acl/policy', { Name: 'db', Rules: rules })).status === 200 && true,
      'a policy',
    )
    const { SecretID: token } = await agent.call<{ SecretID: string }>('PUT', '/v1/acl/token', {
      Policies: [{ Name: 'db' }],
    })
    await agent.intention('web', 'db', 'allow')
    const webArgs = ['--token', (await serviceToken(agent, 'web')).SecretID]
    const pair = await startMeshPair(t, agent, { ...byAgent, webArgs, dbArgs: ['--token', token] })
    assert.match(await refused(pair), /detail="the agent did not decide: .*authorize: 403 Permission denied"/)
    assert.equal(pair.app.connections.length, 0)
    const here = await startMeshSidecar(t, agent, [
      ...['--proxy-id', 'db1-sidecar-proxy', '--token', token, '--authorization', 'intentions'],
    ])
    await here.command.line('what=intentions')
    assert.ok((await here.state<{ missing: string[] }>()).missing.includes('intentions'))
    const { missing } = await pair.db.state<{ missing: string[] }>()
    assert.deepEqual(missing, [])
  })

  test('the flag goes before the registration, either way', async t => {
    const agent = await startConsul(t)
    const pair = await startMeshPair(t, agent, {
      ...byAgent,
      dbArgs: ['--authorization', 'intentions'],
      webArgs: ['--authorization', 'agent'],
    })
    assert.equal(await authorizedBy(pair.db), 'intentions')
    assert.equal(await authorizedBy(pair.web), 'agent')
    const before = await settled(() => asked(agent), 'questions', 1_500)
    await pair.connect().echoes('hello')
    await pair.connect().echoes('hello')
    assert.equal(asked(agent), before)
  })

  test('a registration that changes it is taken up, and live sessions are asked about', async t => {
    const agent = await startConsul(t)
    const pair = await startMeshPair(t, agent)
    const live = pair.connect()
    await live.echoes('hello')
    const before = await settled(() => asked(agent), 'questions', 1_500)
    await agent.register(pair.dbService({ Config: { authorization: 'agent' } }))
    await eventually(async () => (await authorizedBy(pair.db)) === 'agent' && true, 'the change')
    await until(() => asked(agent) > before, 'a question about the live session')
    await live.echoes(' and on')
  })
})
