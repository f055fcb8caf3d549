// Intentions as Consul 1.9 to 1.20 tell them: rows of service-intentions entries, and a default that two settings may give.
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { type Action, decide, type Intentions } from '../../src/authorization/intentions.ts'
import { IntentionsFollower } from '../../src/consul/intentions-follower.ts'
import { Era } from '../support/consul-eras.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'
import { paths, tellIntentions } from '../support/written-services.ts'

async function follow(t: TestContext, era: Era, rules: readonly object[] = [], authorize = era.byDefault()) {
  const agent = await startWrittenMesh(t, era.options)
  agent.say(paths.list, { by: 'index', body: rules })
  agent.say(paths.authorize, { body: authorize })
  tellIntentions(agent, 'db', rules)
  const told: Intentions[] = []
  const warnings: string[] = []
  const failures: string[] = []
  const stop = new AbortController()
  t.after(() => stop.abort())
  void new IntentionsFollower({
    client: agent.client(t),
    service: 'db',
    onIntentions: intentions => told.push(intentions),
    onFailure: error => failures.push(`${error.code} ${error.message}`),
    onContact: () => {},
    onWarning: message => warnings.push(message),
    signal: stop.signal,
    // Nothing here may hang on a poll.
    pollMs: 3_600_000,
  }).run()
  return { agent, told, warnings, failures }
}

const peer = (service: string, partition = 'default') => ({
  partition,
  namespace: 'default',
  datacenter: 'dc1',
  service,
})
const deny: Intentions = { rules: [], defaultAction: 'deny' }

/** What one row says about `web`, where everything else is denied. */
async function saysOfWeb(t: TestContext, row: object, partition?: string): Promise<Action | 'nothing'> {
  const { told } = await follow(t, new Era(20), [row])
  const { rules } = await until(() => told.at(-1), 'the intentions')
  const { action, rule } = decide({ ...deny, rules }, peer('web', partition))
  return rule === undefined ? 'nothing' : action
}
const era = new Era(20)

// agent/structs/intention.go: Permissions without an Action; JWT (1.16) beside either, which /authorize does not look at.
for (const [what, more, expected] of [
  ['no ID and no times, as an entry makes it', { Action: 'allow' }, 'allow'],
  ['permissions, and no Action', { Permissions: [{ Action: 'allow', HTTP: { PathPrefix: '/' } }] }, 'deny'],
  ['permissions and an empty Action', { Action: '', Permissions: [{ Action: 'allow', HTTP: {} }] }, 'deny'],
  [
    'permissions that also ask for a JWT',
    { Permissions: [{ Action: 'allow', JWT: { Providers: [{ Name: 'o' }] } }] },
    'deny',
  ],
  [
    'a JWT provider for layer 7, and an Action',
    { Action: 'allow', JWT: { Providers: [{ Name: 'okta' }] } },
    'allow',
  ],
  [
    'permissions and an Action, which no entry may have both',
    { Action: 'allow', Permissions: [{ Action: 'allow' }] },
    'deny',
  ],
  ['null permissions', { Action: 'allow', Permissions: null }, 'allow'],
  ['a source peer (1.13)', { Action: 'allow', SourcePeer: 'cluster-02' }, 'nothing'],
  ['a sameness group (1.16)', { Action: 'allow', SourceSamenessGroup: 'products' }, 'deny'],
  [
    'its partitions named (1.11)',
    { Action: 'allow', SourcePartition: 'default', DestinationPartition: 'default' },
    'allow',
  ],
  ['another partition', { Action: 'allow', SourcePartition: 'edge' }, 'nothing'],
  ['fields that nobody has heard of', { Action: 'allow', Tomorrow: { Deep: [1] }, Hash: null }, 'allow'],
] as const) {
  test(`a row with ${what}: ${expected}`, async t => {
    assert.equal(await saysOfWeb(t, era.intention('web', 'db', more)), expected)
  })
}

test('a row of another partition speaks for its services, and not for those of ours', async t => {
  const row = era.intention('web', 'db', { Action: 'allow', SourcePartition: 'edge' })
  assert.equal(await saysOfWeb(t, row, 'edge'), 'allow')
})

test("a peer's row for any source (1.13) hides no rule of ours", async t => {
  const rows = [
    era.intention('*', 'db', { Action: 'deny', SourcePeer: 'cluster-02' }),
    era.intention('web', 'db', { Action: 'allow' }),
  ]
  const { told } = await follow(t, era, rows)
  const { rules } = await until(() => told.at(-1), 'the intentions')
  assert.equal(decide({ ...deny, rules }, peer('web')).action, 'allow')
  assert.equal(decide({ ...deny, rules, defaultAction: 'allow' }, peer('api')).rule, undefined)
})

// Intention.String of 1.9 and later, and the reasons of agent/agent_endpoint.go.
for (const [reason, counts] of [
  ['Matched L4 intention: default/* => default/db (Precedence: 8, Action: ALLOW)', false],
  ['Matched L7 intention: default/* => default/db (Precedence: 8, Permissions: 1)', false],
  ['Matched L4 intention: peer(cluster-02)/default/* => default/db (Precedence: 8, Action: ALLOW)', false],
  ['Default behavior configured by ACLs', true],
  ['Default intention policy', true],
  ['ACLs disabled, access is allowed by default', true],
] as const) {
  test(`a reason ${counts ? 'teaches' : 'does not teach'} the default: ${reason}`, async t => {
    const { agent, told } = await follow(t, new Era(18, 'allow'), [], { Authorized: true, Reason: reason })
    await until(() => agent.askedFor(paths.authorize).length > 0 && told.length > 0, 'the intentions')
    if (counts) return void (await until(() => told.at(-1)?.defaultAction === 'allow', 'the default'))
    // It is asked for again soon, and is not learnt from that either.
    await until(() => agent.askedFor(paths.authorize).length > 1, 'another question')
    assert.deepEqual(
      told.map(({ defaultAction }) => defaultAction),
      ['deny'],
    )
  })
}

// acl.default_policy is in the header, default_intention_policy (1.18) is not: agent/http.go, agent/agent_endpoint.go.
for (const [header, learnt] of [
  ['deny', 'allow'],
  ['allow', 'deny'],
] as const) {
  test(`where default_intention_policy (1.18) says ${learnt} and the ACL default ${header}, it is denied and said`, async t => {
    const late = new Era(18, header)
    const { told, warnings } = await follow(t, late, [], late.byDefault(learnt, true))
    const [warning = ''] = await until(() => warnings.length > 0 && warnings, 'the warning')
    assert.match(warning, /default_intention_policy/)
    await until(() => told.length > 0, 'the intentions')
    assert.deepEqual([...new Set(told.map(({ defaultAction }) => defaultAction))], ['deny'])
  })
}

for (const policy of ['allow', 'deny'] as const) {
  test(`where both say ${policy} nothing is warned of`, async t => {
    const late = new Era(18, policy)
    const { told, warnings } = await follow(t, late, [], late.byDefault(policy, true))
    await until(() => told.at(-1)?.defaultAction === policy, 'the default')
    assert.deepEqual(warnings, [])
  })
}

// acl/errors.go, PermissionDeniedError (1.12): what is missing is named, with the accessor and never the secret.
const longRefusal =
  "Permission denied: token with AccessorID '5e9b1f5c-1111-2222-3333-444455556666' lacks permission 'service:write' on \"db\""

test('an ACL default that turns to deny holds at once, also where a refusal is what tells of it', async t => {
  const era = new Era(13, 'allow')
  const { agent, told, failures } = await follow(t, era)
  await until(() => told.at(-1)?.defaultAction === 'allow', 'the default')
  const refusal = { status: 403, body: longRefusal, headers: { 'X-Consul-Default-Acl-Policy': 'deny' } }
  agent.say(paths.authorize, refusal)
  agent.say(paths.match('db'), refusal)
  await until(() => told.at(-1)?.defaultAction === 'deny', 'the denial')
  await until(() => failures.length > 0, 'the refusal')
  assert.match(failures[0] ?? '', /^agent_denied .*403 Permission denied: token with AccessorID '5e9b1f5c-/)
})

test('the rules that are known hold while a token may not read them, and its return is noticed', async t => {
  const era = new Era(20)
  const { agent, told, failures } = await follow(t, era, [era.intention('web', 'db', { Action: 'allow' })])
  await until(() => told.at(-1)?.rules.length === 1, 'the rule')
  agent.say(paths.match('db'), { status: 403, body: longRefusal })
  await until(() => failures.length > 0, 'the refusal')
  assert.equal(told.at(-1)?.rules.length, 1)
  tellIntentions(agent, 'db', [])
  await until(() => told.at(-1)?.rules.length === 0, 'the end of the rule')
})

test('an index of /match that goes backwards is given up: it is asked at once without one, and blocks by the new one', async t => {
  const { agent, told } = await follow(t, era)
  const match = paths.match('db')
  const indexes = () => agent.askedFor(match).map(({ query }) => query.get('index'))
  await until(() => agent.waiting(match) === 1, 'the watch')
  const deny = [era.intention('web', 'db', { Action: 'deny' })]
  agent.say(match, { by: 'index', index: 3, body: { db: deny } })
  await until(() => told.at(-1)?.rules.length === 1, 'the rule')
  await until(() => agent.waiting(match) === 1 && indexes().at(-1) === '3', 'the new watch')
  assert.equal(indexes().at(-2), null)
  agent.say(match, { by: 'index', index: 4, body: { db: null } })
  await until(() => told.at(-1)?.rules.length === 0, 'its end')
})
