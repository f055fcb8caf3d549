import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { openDatabase } from '../../src/agent/database.ts'
import { grantsOf } from '../../src/agent/grants.ts'
import { Policies } from '../../src/agent/policies.ts'
import { parseRules } from '../../src/agent/policy-rules.ts'
import { Refusal } from '../../src/agent/refusal.ts'
import { everything, nothing } from '../../src/agent/rights.ts'
import { State } from '../../src/agent/state.ts'
import { Tokens } from '../../src/agent/tokens.ts'
import { openAgent } from '../support/embedded-agent.ts'
import { until } from '../support/until.ts'

const grants = (...rules: readonly string[]) =>
  grantsOf(rules.map(parseRules), { fallback: nothing, node: 'n1' })

async function openDenying(t: TestContext) {
  const opened = await openAgent(t, { acl: { enabled: true } })
  const { SecretID: root } = (await opened.call('PUT', '/v1/acl/bootstrap')).json<{ SecretID: string }>()
  const asRoot = (method: string, path: string, body?: unknown) =>
    opened.call(method, path, body, { token: root })
  return { ...opened, asRoot }
}

function statusOf(rules: string): number {
  try {
    parseRules(rules)
    return 200
  } catch (error) {
    assert.ok(error instanceof Refusal)
    return error.status
  }
}

test('the exact rule goes before the longest prefix, whatever the order', () => {
  const may = grants(`
    service_prefix "" { policy = "read" }
    service "db" { policy = "write" }
    service_prefix "db" { policy = "deny" }
    service_prefix "db-a" { policy = "write" }`)
  assert.deepEqual(
    ['db', 'db2', 'db-api', 'd', ''].map(name => [may.writes(name), may.reads(name)]),
    [
      [true, true],
      [false, false],
      [true, true],
      [false, true],
      [false, true],
    ],
  )
})

test('of several policies deny wins, then what allows more; where none speaks the default holds', () => {
  const [read, write, deny] = ['read', 'write', 'deny'].map(policy => `service "db" { policy = "${policy}" }`)
  assert.ok(grants(`${read} ${write}`).writes('db'))
  assert.ok(grants(String(write), String(read)).writes('db'))
  assert.ok(!grants(String(write), String(deny), String(read)).reads('db'))
  const open = grantsOf([parseRules(String(deny))], { fallback: everything, node: 'n1' })
  assert.deepEqual([open.reads('db'), open.reads('web')], [false, true])
})

test('intentions follow from the service: read for read and write, unless something else is said', () => {
  const may = grants(`
    service "written" { policy = "write" }
    service "hidden" { policy = "deny" }
    service "closed" { policy = "write" intentions = "deny" }
    service "open" { policy = "deny" intentions = "write" }`)
  const rights = (name: string) => [may.readsIntentions(name), may.writesIntentions(name)]
  assert.deepEqual(rights('written'), [true, false])
  assert.deepEqual(rights('hidden'), [false, false])
  assert.deepEqual(rights('closed'), [false, false])
  assert.deepEqual(rights('open'), [true, true])
  assert.deepEqual(rights('*'), [true, false])
})

test('rules are HCL or JSON, and what is neither, or says what no policy is, is refused', () => {
  for (const rules of [
    '',
    'service "x" { policy = "read" } service "x" { policy = "write" }',
    '{"service":[{"x":[{"policy":"read"}]}],"operator":"read"}',
    'key_prefix "x" { policy = "list" } session "" { policy = "read" } event "x" { policy = "write" } keyring = "read"',
    'nonsense "x" { policy = "what" }',
    '{"__proto__":{"x":{"policy":"read"}}}',
  ])
    assert.equal(statusOf(rules), 200, rules)
  for (const rules of [
    'service "x" { policy = "list" }',
    'service "x" { policy = "read" intentions = "what" }',
    'service "x" {}',
    'service "x" "y" { policy = "read" }',
    'service "x" { policy = 1 }',
    'service_prefix { policy = "read" }',
    'service = "read"',
    'operator = "list"',
    'operator "x" { policy = "read" }',
    'service "x" {',
    '[]',
    '{"service":[[]]}',
    '{"service":1}',
    '{',
  ])
    assert.equal(statusOf(rules), 500, rules)
})

test("rules that are too large or too deep are refused as the caller's fault, and the agent goes on", async t => {
  const { asRoot } = await openDenying(t)
  const deep = 20_000
  for (const Rules of [
    `service "x" ${'{ a '.repeat(deep)}`,
    `service ${'"x" '.repeat(deep / 2)} { policy = "read" }`,
    `operator = ${'['.repeat(deep)}`,
    `{"service":${'['.repeat(deep)}${']'.repeat(deep)}}`,
    `{"unknown":${'{"a":'.repeat(deep / 4)}1${'}'.repeat(deep / 4)}}`,
    `# ${'x'.repeat(70_000)}`,
  ]) {
    const { status, text } = await asRoot('PUT', '/v1/acl/policy', { Name: 'hostile', Rules })
    assert.equal(status, 400, Rules.slice(0, 30))
    assert.ok(text.length < 300, text.slice(0, 300))
  }
  const huge = await asRoot('PUT', '/v1/acl/policy', { Name: 'huge', Rules: 'x'.repeat(1_000_000) })
  assert.equal(huge.status, 413)
  const left = (await asRoot('GET', '/v1/acl/policies')).json<{ Name: string }[]>()
  assert.deepEqual(
    left.map(({ Name }) => Name),
    ['global-management'],
  )
})

test('a policy that changes or goes changes what its tokens may do, also in calls that block', async t => {
  const { asRoot, call, world } = await openDenying(t)
  const rules = (policy: string) => ({ Name: 'db', Rules: `service "db" { policy = "${policy}" }` })
  const { ID } = (await asRoot('PUT', '/v1/acl/policy', rules('write'))).json<{ ID: string }>()
  const { SecretID: token } = (await asRoot('PUT', '/v1/acl/token', { Policies: [{ Name: 'db' }] })).json<{
    SecretID: string
  }>()
  const leaf = '/v1/agent/connect/ca/leaf/db'
  const first = await call('GET', leaf, undefined, { token })
  assert.equal(first.status, 200)
  const resting = world.state.waiting
  const blocked = call('GET', `${leaf}?index=${first.headers.get('x-consul-index')}`, undefined, { token })
  await until(() => world.state.waiting === resting + 1, 'the call to wait')
  await asRoot('PUT', `/v1/acl/policy/${ID}`, rules('read'))
  assert.equal((await blocked).status, 403)
  await asRoot('PUT', `/v1/acl/policy/${ID}`, rules('write'))
  assert.equal((await call('GET', leaf, undefined, { token })).status, 200)
  await asRoot('DELETE', `/v1/acl/policy/${ID}`)
  assert.equal((await call('GET', leaf, undefined, { token })).status, 403)
})

test('policies and the tokens that have them outlive the agent', t => {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-policies-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const settings = { enabled: true, defaultPolicy: 'deny', managementSecrets: [] } as const
  const open = () => {
    const state = new State(openDatabase(folder))
    const policies = new Policies({ state, datacenter: 'dc1', since: 1 })
    return { state, policies, tokens: new Tokens({ state, policies, settings, node: 'n1' }) }
  }
  const before = open()
  const rules = 'service "db" { policy = "write" }'
  before.policies.create({ Name: 'db', Rules: rules })
  const { SecretID } = before.tokens.create({ Policies: [{ Name: 'db' }] })
  before.state.close()
  const after = open()
  t.after(() => after.state.close())
  assert.equal(after.policies.findByName('db')?.Rules, rules)
  const may = after.tokens.rightsOf(String(SecretID))
  assert.deepEqual([may.writes('db'), may.writes('web')], [true, false])
})

test('the policy that allows everything is built in: it can not be changed or taken back', async t => {
  const { asRoot } = await openDenying(t)
  const builtin = '/v1/acl/policy/00000000-0000-0000-0000-000000000001'
  assert.equal((await asRoot('PUT', builtin, { Name: 'global-management', Rules: '' })).status, 500)
  assert.equal((await asRoot('DELETE', builtin)).status, 500)
  const { Rules } = (await asRoot('GET', builtin)).json<{ Rules: string }>()
  assert.ok(grants(Rules).writesTokens && grants(Rules).writesIntentions('*'))
})

test('what a token would not be given, or would not lose in time, is refused, not passed over', async t => {
  const { asRoot } = await openDenying(t)
  for (const [body, status] of [
    [{ Policies: [{ Name: 'nobodys' }] }, 500],
    [{ Roles: [{ Name: 'some' }] }, 400],
    [{ ExpirationTTL: '1h' }, 400],
    [{}, 200],
  ] as const)
    assert.equal((await asRoot('PUT', '/v1/acl/token', body)).status, status, JSON.stringify(body))
})
