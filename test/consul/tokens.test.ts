// ACLs with default deny: what a sidecar's token has to be, and what its loss changes while the sidecar runs.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import {
  type AclToken,
  giveRights,
  serviceToken,
  startConsulWithAcls,
  takeRights,
} from '../support/consul-acls.ts'
import type { ConsulAgent } from '../support/consul-agent.ts'
import { connect, type End, freeAddress } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { registerInstance } from '../support/instances.ts'
import { type MeshPair, type MeshSidecar, startMeshPair, startMeshSidecar } from '../support/mesh.ts'
import { eventually, Folder } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'

interface TokenPair extends MeshPair {
  readonly tokens: readonly [web: AclToken, db: AclToken]
  /** Files that the sidecars read their tokens from. */
  readonly files: readonly [web: string, db: string]
  /** Turns the intention that lets web reach db. */
  deny(): Promise<unknown>
}

/** web may reach db; each sidecar has its service's own token. */
async function startTokenPair(t: TestContext, agent: ConsulAgent): Promise<TokenPair> {
  const id = await agent.intention('web', 'db', 'allow')
  const folder = await Folder.make(t)
  const [web, db] = [await serviceToken(agent, 'web'), await serviceToken(agent, 'db')]
  const files = [folder.file('web-token'), folder.file('db-token')] as const
  writeToken(files[0], web)
  writeToken(files[1], db)
  const pair = await startMeshPair(t, agent, {
    webArgs: ['--token-file', files[0]],
    dbArgs: ['--token-file', files[1]],
  })
  const rule = { SourceName: 'web', DestinationName: 'db', Action: 'deny' }
  return {
    ...pair,
    tokens: [web, db],
    files,
    deny: () => agent.call('PUT', `/v1/connect/intentions/${id}`, rule),
  }
}

function writeToken(file: string, { SecretID }: AclToken): void {
  writeFileSync(file, SecretID, { mode: 0o600 })
}

/** Changes something in all that the sidecars follow, so that each call that blocks is made again. */
async function changeAll(agent: ConsulAgent, pair: MeshPair): Promise<void> {
  await agent.intention('somebody', '*', 'deny')
  await agent.register(pair.webService({}, { Tags: ['changed'] }))
  await agent.register(pair.dbService({}, { Tags: ['changed'] }))
}

function saysNothingOf(sidecars: readonly MeshSidecar[], tokens: readonly AclToken[]): void {
  for (const { command } of sidecars) {
    for (const { SecretID } of tokens)
      assert.ok(
        !command.stdout.includes(SecretID) && !command.stderr.includes(SecretID),
        'a token in the log',
      )
  }
}

test('a service identity is enough for a sidecar', async t => {
  const agent = await startConsulWithAcls(t)
  const pair = await startTokenPair(t, agent)
  await pair.connect().echoes('hello')
  for (const { command } of [pair.web, pair.db])
    assert.equal(command.linesWith('the agent refused').length, 0)
  saysNothingOf([pair.web, pair.db], pair.tokens)
})

test("a service identity's token gets all that a sidecar asks for, and another service's leaf not", async t => {
  const agent = await startConsulWithAcls(t)
  await agent.register({ ID: 'web1', Name: 'web', Port: 1, Connect: { SidecarService: {} } })
  const { SecretID } = await serviceToken(agent, 'web')
  const status = async (path: string, body?: object) =>
    (await agent.send(body === undefined ? 'GET' : 'POST', path, body, SecretID)).status
  const asks = (target: string) => ({
    Target: target,
    ClientCertURI: 'spiffe://somewhere.consul/ns/default/dc/dc1/svc/somebody',
    ClientCertSerial: '01',
  })
  for (const path of [
    '/v1/agent/services',
    '/v1/agent/service/web1-sidecar-proxy',
    '/v1/agent/connect/ca/roots',
    '/v1/agent/connect/ca/leaf/web',
    '/v1/connect/intentions',
    '/v1/connect/intentions/match?by=destination&name=web',
    '/v1/health/connect/db?passing=true',
    '/v1/discovery-chain/db',
  ])
    assert.equal(await status(path), 200, path)
  assert.equal(await status('/v1/agent/connect/authorize', asks('web')), 200)
  assert.equal(await status('/v1/agent/connect/ca/leaf/db'), 403)
  assert.equal(await status('/v1/agent/connect/authorize', asks('db')), 403)
})

test("a sidecar with another service's token is never ready, and says what it lacks", async t => {
  const agent = await startConsulWithAcls(t)
  const pair = await startTokenPair(t, agent)
  const [web] = pair.tokens
  const stranger = await startMeshSidecar(t, agent, ['--sidecar-for', 'db1'], {
    env: { CONSUL_HTTP_TOKEN: web.SecretID },
  })
  await stranger.command.line('registration found')
  const refusal = await stranger.command.line('what=leaf')
  assert.match(
    refusal,
    /the agent refused.* error="\/v1\/agent\/connect\/ca\/leaf\/db: 403 Permission denied"/,
  )
  const { status, body } = await stranger.get('/ready')
  assert.equal(status, 503)
  assert.match(body, /certificates/)
  saysNothingOf([stranger], pair.tokens)
})

/** The agent refuses both sidecars all that needs a right, and everything goes on. */
async function goesOnRefused(agent: ConsulAgent, pair: TokenPair, live: End): Promise<void> {
  await changeAll(agent, pair)
  await pair.web.command.line('the agent refused; what is known stays in use what=registration')
  await pair.db.command.line('the agent refused; what is known stays in use what=registration')
  await pair.db.command.line('the agent refused; what is known stays in use what=intentions')
  await live.echoes(' during')
  await pair.connect().echoes('new')
}

/** What was refused is heard again, up to a denial. */
async function isHeardAgain(pair: TokenPair, live: End): Promise<void> {
  await pair.web.command.line('the agent refuses it no more what=registration')
  await pair.db.command.line('the agent refuses it no more what=intentions')
  await live.echoes(' and after')
  assert.equal(pair.db.command.linesWith('session ended').length, 0)
  await pair.deny()
  await live.fails()
}

test('a token that loses its rights changes no decision and ends no session; given back, all is heard again', async t => {
  const agent = await startConsulWithAcls(t)
  const pair = await startTokenPair(t, agent)
  const [web, db] = pair.tokens
  const live = pair.connect()
  await live.echoes('before')
  await takeRights(agent, web)
  await takeRights(agent, db)
  await goesOnRefused(agent, pair, live)
  // Rows that are left out look like instances that have gone.
  await pair.web.command.line('the agent hides its instances from this token; the known ones stay')
  const refusals = /Request error:? method=GET url=\/v1\/connect\/intentions\/match\?by=destination&name=db /g
  await until(() => [...agent.log.matchAll(refusals)].length >= 3, 'three refusals')
  assert.equal(pair.db.command.linesWith('stays in use what=intentions').length, 1)
  await giveRights(agent, web, 'web')
  await giveRights(agent, db, 'db')
  await isHeardAgain(pair, live)
})

test('a token that is deleted changes no decision and ends no session; the next one in its file is taken up', async t => {
  const agent = await startConsulWithAcls(t)
  const pair = await startTokenPair(t, agent)
  const live = pair.connect()
  await live.echoes('before')
  for (const { AccessorID } of pair.tokens) await agent.call('DELETE', `/v1/acl/token/${AccessorID}`)
  await goesOnRefused(agent, pair, live)
  const next = [await serviceToken(agent, 'web'), await serviceToken(agent, 'db')] as const
  writeToken(pair.files[0], next[0])
  writeToken(pair.files[1], next[1])
  await isHeardAgain(pair, live)
  saysNothingOf([pair.web, pair.db], [...pair.tokens, ...next])
})

test("a prepared query's instances stay as well when a token loses its rights", async t => {
  const agent = await startConsulWithAcls(t)
  const pair = await startTokenPair(t, agent)
  // Nobody listens there: each dial fails, and has the query run again.
  await registerInstance(agent, 'gone', await freeAddress())
  await agent.call('POST', '/v1/query', { Name: 'near-gone', Service: { Service: 'gone' } })
  const query = await freePort()
  const Upstreams = [
    { DestinationType: 'prepared_query', DestinationName: 'near-gone', LocalBindPort: query.port },
  ]
  await agent.register(pair.webService({ Upstreams }))
  const known = async () => {
    const { upstreams } = await pair.web.state<{ upstreams: { endpoints: object[] }[] }>()
    return upstreams[0]?.endpoints.length === 1
  }
  await eventually(known, 'the instance')
  await takeRights(agent, pair.tokens[0])
  await eventually(async () => {
    await connect(t, query).fails()
    return pair.web.command.linesWith('hides its instances').length === 1
  }, 'an answer without instances')
  assert.ok(await known())
})
