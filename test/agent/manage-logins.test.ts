// Tokens that `sidesplice manage` gets by an auth method of Consul 1.8.7: given, renewed, given back.
import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { startConsulWithAcls } from '../support/consul-acls.ts'
import type { ConsulAgent } from '../support/consul-agent.ts'
import { connect } from '../support/ends.ts'
import { Manager, services } from '../support/manager.ts'
import { eventually } from '../support/running-sidecar.ts'
import { noteSecret } from '../support/secrets.ts'
import { until } from '../support/until.ts'

/** An auth method whose logins get the identity of the service that their bearer names. */
async function openLogins(t: TestContext, agent: ConsulAgent, method: object = {}) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  await agent.call('PUT', '/v1/acl/auth-method', {
    ...{ Name: 'machines', Type: 'jwt', ...method },
    Config: {
      JWTValidationPubKeys: [publicKey.export({ type: 'spki', format: 'pem' })],
      JWTSupportedAlgs: ['ES256'],
      ClaimMappings: { service: 'service' },
    },
  })
  await agent.call('PUT', '/v1/acl/binding-rule', {
    ...{ AuthMethod: 'machines', BindType: 'service', BindName: '$\u007bvalue.service}' },
  })
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-bearer-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const { SecretID: token } = await agent.call<{ SecretID: string }>('PUT', '/v1/acl/token', {
    ServiceIdentities: [{ ServiceName: 'web' }, { ServiceName: 'db' }],
  })
  return {
    /** The supervisor's own. */
    token,
    withLogin<T extends { readonly name: string }>(service: T) {
      const file = join(folder, service.name)
      writeFileSync(file, bearer(privateKey, service.name), { mode: 0o600 })
      return { ...service, login: { auth_method: 'machines', bearer_token_file: file } }
    },
    async accessors(): Promise<readonly string[]> {
      const tokens = await agent.call<{ AccessorID: string; AuthMethod?: string }[]>('GET', '/v1/acl/tokens')
      return tokens.flatMap(({ AccessorID, AuthMethod }) => (AuthMethod === 'machines' ? [AccessorID] : []))
    },
  }
}

test("an auth method's login gives each proxy its token, and the token is given back as the proxy goes", async t => {
  const agent = await startConsulWithAcls(t, { real: true })
  const { db, web, carries } = await services(t, agent)
  await agent.intention('web', 'db', 'allow')
  const { token, withLogin, accessors } = await openLogins(t, agent)
  const manager = new Manager(t, { agent, token, args: [] }, { services: [withLogin(db), withLogin(web)] })
  await carries()
  const before = await accessors()
  assert.equal(before.length, 2)
  // What it was given is found again after the supervisor's own end.
  await manager.kill()
  manager.write({ services: [withLogin(db)] })
  manager.startAgain()
  await until(() => !manager.pids().has('web-sidecar-proxy'), 'the end of one proxy', 20_000)
  await eventually(async () => (await accessors()).length === 1 && true, 'its token to go', 50_000)
  assert.ok(before.includes((await accessors())[0] ?? ''), 'the other one is as it was')
})

test('a login token that is deleted, or about to expire, is replaced while its proxy runs, and no connection ends', async t => {
  const agent = await startConsulWithAcls(t, { real: true })
  const { db, web, upstream, carries } = await services(t, agent)
  const intention = await agent.intention('web', 'db', 'allow')
  // The shortest life that Consul gives.
  const { token, withLogin, accessors } = await openLogins(t, agent, { MaxTokenTTL: '1m' })
  const manager = new Manager(t, { agent, token, args: [] }, { services: [withLogin(db), withLogin(web)] })
  await carries()
  const [pids, first] = [manager.pids(), await accessors()]
  assert.equal(first.length, 2)
  const live = connect(t, upstream)
  await live.echoes('at first')
  const folder = join(manager.folder, 'state', 'proxy', 'tokens')
  const secrets = () => readdirSync(folder).map(name => readFileSync(join(folder, name), 'utf8').trim())
  for (const name of readdirSync(folder)) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600)
  const given = secrets()
  for (const secret of given) noteSecret(secret)
  assert.equal(given.length, 2)
  for (const pid of pids.values())
    for (const secret of given) assert.ok(!readFileSync(`/proc/${pid}/environ`, 'utf8').includes(secret))
  for (const accessor of first) await agent.call('DELETE', `/v1/acl/token/${accessor}`)
  const said = () => manager.command.linesWith('the token of a login is a fresh one').length
  const fresh = (count: number) => until(() => said() >= count, `${count} fresh tokens`, 90_000)
  await fresh(2)
  const second = await accessors()
  assert.deepEqual([second.length, second.some(one => first.includes(one))], [2, false])
  await live.echoes(' then')
  await fresh(3)
  // Before they end: Consul shows no token whose time is over.
  const last = await accessors()
  assert.ok(second.every(one => last.includes(one)))
  await fresh(4)
  // Both are new ones again, and those of before are given back.
  const isRenewed = async () => {
    const now = await accessors()
    return now.length === 2 && !now.some(one => second.includes(one))
  }
  await eventually(isRenewed, 'the old tokens to go', 20_000)
  await live.echoes(' and on')
  await carries()
  assert.deepEqual(manager.pids(), pids)
  for (const secret of secrets()) {
    noteSecret(secret)
    assert.ok(!given.includes(secret) && !manager.command.stdout.includes(secret))
  }
  // What the proxies follow they follow with the token of now.
  const denial = { SourceName: 'web', DestinationName: 'db', Action: 'deny' }
  await agent.call('PUT', `/v1/connect/intentions/${intention}`, denial)
  await live.fails()
})

/** A JSON Web Token that names a service, good for an hour. */
function bearer(key: KeyObject, service: string): string {
  const now = Math.floor(Date.now() / 1_000)
  const [head, claims] = [
    { alg: 'ES256', typ: 'JWT' },
    { service, sub: service, iat: now, nbf: now - 10, exp: now + 3_600 },
  ].map(part => Buffer.from(JSON.stringify(part)).toString('base64url'))
  const signature = sign('sha256', Buffer.from(`${head}.${claims}`), { key, dsaEncoding: 'ieee-p1363' })
  return `${head}.${claims}.${signature.toString('base64url')}`
}
