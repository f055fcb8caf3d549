import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Intentions } from '../../src/authorization/intentions.ts'
import { Alarm, Pace } from '../../src/consul/back-off.ts'
import { IdentityFollower } from '../../src/consul/identity-follower.ts'
import { IntentionsFollower } from '../../src/consul/intentions-follower.ts'
import { UpstreamFollower } from '../../src/consul/upstream-follower.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { issueLeaf, issueRoot, mesh, spiffeId } from '../support/pki.ts'
import { until } from '../support/until.ts'
import { type WrittenAnswer, writtenAgent } from '../support/written-agent.ts'

/** Ends what a test started. */
function stopper(t: TestContext): AbortSignal {
  const stop = new AbortController()
  t.after(() => stop.abort())
  return stop.signal
}
const never = new Promise<WrittenAnswer>(() => {})
const none = () => {}

test('an alarm that rings between two waits ends the next one, and only that', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const alarm = new Alarm()
  const signal = stopper(t)
  alarm.ring()
  await alarm.wait(60_000, signal)
  let over = false
  const second = alarm.wait(60_000, signal).then(() => {
    over = true
  })
  await Promise.resolve()
  assert.equal(over, false)
  t.mock.timers.tick(60_000)
  await second
})

test('a pace lets two pass at once, and the rest one by one', () => {
  const pace = new Pace(1_000, { now: () => 0, pause: async () => {} })
  assert.equal(pace.take(), 0)
  assert.equal(pace.take(), 0)
  assert.equal(pace.take(), 1_000)
  assert.equal(pace.take(), 2_000)
})

const row = {
  Node: { Address: '10.0.0.1', Datacenter: 'dc1' },
  Service: { Port: 1, Proxy: { DestinationServiceName: 'db' } },
}

const lost = { 'x-consul-index': '1' }
const filtered = { 'x-consul-index': '31', 'x-consul-results-filtered-by-acls': 'true' }
for (const [what, first, hidden] of [
  ['an index of 1 after a higher one (1.8)', lost, lost],
  // The query was blocking when the token lost its rights.
  ['an index of 1 after an answer without rows', { 'x-consul-index': '31' }, lost],
  ['the header of 1.11', filtered, filtered],
] as const) {
  test(`instances that a token may not see any more stay, however often the answer comes: ${what}`, async t => {
    let asked = 0
    const client = await writtenAgent(t, () => {
      asked++
      if (asked === 1) return { body: [row], headers: { 'x-consul-index': '30' } }
      return asked > 6 ? never : { body: [], headers: asked === 2 ? first : hidden }
    })
    const seen: number[] = []
    let told = 0
    const follower = new UpstreamFollower({
      client,
      name: 'db',
      type: 'service',
      namespace: 'default',
      datacenter: '',
      onInstances: instances => seen.push(instances.length),
      onHidden: () => told++,
      onFailure: none,
      onContact: none,
      signal: stopper(t),
      pollMs: 5,
    })
    void follower.run()
    await until(() => asked >= 5, 'five answers', 20_000)
    assert.deepEqual(seen, [1])
    assert.equal(told, 1)
  })
}

test('an empty answer that hides nothing is applied', async t => {
  let asked = 0
  const client = await writtenAgent(t, () => {
    asked++
    // Said twice, it is believed.
    if (asked > 3) return never
    return { body: asked === 1 ? [row] : [], headers: { 'x-consul-index': String(30 + asked) } }
  })
  const seen: number[] = []
  const options = { client, name: 'db', type: 'service', namespace: 'default', datacenter: '' } as const
  const events = {
    onInstances: (all: readonly unknown[]) => seen.push(all.length),
    onHidden: none,
    onFailure: none,
    onContact: none,
  }
  void new UpstreamFollower({ ...options, ...events, signal: stopper(t) }).run()
  await until(() => seen.length === 2, 'the second answer')
  assert.deepEqual(seen, [1, 0])
})

const anyone = { SourceName: '*', DestinationName: 'db', Action: 'deny', SourceType: 'consul' }

interface Mesh {
  rules: object[]
  default: 'allow' | 'deny'
  /** Answers of /authorize that still come by a rule that has gone. */
  stale: number
  index: number
  news: () => void
  matches: number
}

/** Intentions as 1.9 and later tell them: /match blocks, /authorize says by what it decided (agent/agent_endpoint.go). */
async function followIntentions(t: TestContext, initial: Partial<Mesh>) {
  const state: Mesh = { rules: [], default: 'deny', stale: 0, index: 10, news: none, matches: 0, ...initial }
  const client = await writtenAgent(t, async (path, query) => {
    if (path.endsWith('/authorize')) {
      const matched = state.rules.length > 0 || state.stale-- > 0
      const reason = matched
        ? 'Matched L4 intention: DENY */* => default/db'
        : 'Default behavior configured by ACLs'
      return { body: { Authorized: !matched && state.default === 'allow', Reason: reason } }
    }
    if (!path.endsWith('/match')) return never
    state.matches++
    if (query.get('index') === String(state.index)) {
      await new Promise<void>(resolve => {
        state.news = resolve
      })
    }
    return { body: { db: state.rules }, headers: { 'x-consul-index': String(state.index) } }
  })
  const told: Intentions[] = []
  const options = {
    client,
    service: 'db',
    onFailure: none,
    onContact: none,
    onWarning: none,
    signal: stopper(t),
  }
  void new IntentionsFollower({ ...options, onIntentions: intentions => told.push(intentions) }).run()
  const change = (next: Partial<Mesh>) => {
    Object.assign(state, next, { index: state.index + 1 })
    state.news()
  }
  return { told, state, change }
}

test('the default is deny until it is learnt', async t => {
  const { told } = await followIntentions(t, { default: 'allow' })
  await until(() => told.at(-1)?.defaultAction === 'allow', 'the default')
  for (const { defaultAction } of told.slice(0, -1)) assert.equal(defaultAction, 'deny')
})

for (const stale of [0, 2]) {
  test(`the end of a rule for everyone denies nobody in a mesh that allows (${stale} answers by the old rule)`, async t => {
    const { told, change } = await followIntentions(t, { rules: [anyone], default: 'allow' })
    await until(() => told.length > 0, 'the rule')
    change({ rules: [], stale })
    await until(() => told.at(-1)?.defaultAction === 'allow', 'the default to be learnt', 20_000)
    const between = told.filter(({ rules, defaultAction }) => rules.length === 0 && defaultAction === 'deny')
    // Held back for a while; an agent that answers by the old rule for longer is believed to deny.
    if (stale === 0) assert.deepEqual(between, [])
  })
}

test('an agent whose /match blocks by index and returns at once is not asked without a pause', async t => {
  const { state } = await followIntentions(t, {})
  const churn = setInterval(() => {
    state.index++
    state.news()
  }, 1)
  t.after(() => clearInterval(churn))
  const before = state.matches
  const startedAt = performance.now()
  await until(() => state.matches - before >= 6, 'some questions', 20_000)
  assert.ok(performance.now() - startedAt > 500, 'six questions within half a second')
})

/** Roots and leaf, told one by one. */
async function followIdentity(
  t: TestContext,
  start: { roots: readonly string[]; leaf: { certPem: string; keyPem: string } },
) {
  const now = { ...start, index: 5, news: [] as (() => void)[] }
  const client = await writtenAgent(t, async (path, query) => {
    if (query.get('index') === String(now.index)) await new Promise<void>(resolve => now.news.push(resolve))
    const headers = { 'x-consul-index': String(now.index) }
    if (path.endsWith('/roots')) {
      return { headers, body: { TrustDomain: 'mesh.test', Roots: now.roots.map(RootCert => ({ RootCert })) } }
    }
    return { headers, body: { CertPEM: now.leaf.certPem, PrivateKeyPEM: now.leaf.keyPem } }
  })
  const taken: Identity[] = []
  const refused: string[] = []
  void new IdentityFollower({
    client,
    service: 'web',
    onIdentity: identity => taken.push(identity),
    onRefused: error => refused.push(error.code),
    onFailure: none,
    onContact: none,
    signal: stopper(t),
  }).run()
  const change = (next: Partial<typeof start>) => {
    Object.assign(now, next, { index: now.index + 1 })
    for (const news of now.news.splice(0)) news()
  }
  return { taken, refused, change }
}

const minute = (count: number) => new Date(Date.now() + count * 60_000)
const pem = (leaf: { chainPem: string; keyPem: string }) => ({ certPem: leaf.chainPem, keyPem: leaf.keyPem })

test('new roots are taken with the leaf in use where the new leaf is bad', async t => {
  const next = await issueRoot('next')
  const { taken, refused, change } = await followIdentity(t, {
    roots: [mesh.root.certPem],
    leaf: pem(mesh.web),
  })
  await until(() => taken.length === 1, 'the first pair')
  const expired = await issueLeaf('web', mesh.root, { notBefore: minute(-9), notAfter: minute(-1) })
  change({ roots: [mesh.root.certPem, next.certPem], leaf: pem(expired) })
  await until(() => taken.length === 2, 'the roots')
  assert.equal(taken[1]?.trust.roots.length, 2)
  assert.equal(taken[1]?.leaf.fingerprint, taken[0]?.leaf.fingerprint)
  await until(() => refused.includes('expired'), 'the refusal')
})

test('an older leaf does not replace a newer one, and does not hold back new roots', async t => {
  const next = await issueRoot('next')
  const { taken, change } = await followIdentity(t, { roots: [mesh.root.certPem], leaf: pem(mesh.web) })
  await until(() => taken.length === 1, 'the first pair')
  const older = await issueLeaf('web', mesh.root, { notBefore: minute(-30) })
  change({ roots: [mesh.root.certPem, next.certPem], leaf: pem(older) })
  await until(() => taken.length === 2, 'the roots')
  assert.equal(taken[1]?.leaf.fingerprint, taken[0]?.leaf.fingerprint)
})

test('the roots of another cluster, which come before its leaf, are taken with it and not without', async t => {
  const other = await issueRoot('other')
  const { taken, change } = await followIdentity(t, { roots: [mesh.root.certPem], leaf: pem(mesh.web) })
  await until(() => taken.length === 1, 'the first pair')
  change({ roots: [other.certPem] })
  const leaf = await issueLeaf('web', other, { uris: [spiffeId('web', 'other.test')] })
  change({ leaf: pem(leaf) })
  await until(() => taken.length === 2, 'the second pair')
  assert.equal(taken[1]?.leaf.id.trustDomain, 'other.test')
  assert.equal(taken[1]?.trust.roots.length, 1)
})

test('a leaf that is not valid yet is taken once it is, without another one having come', async t => {
  const soon = await issueLeaf('web', mesh.root, { notBefore: new Date(Date.now() + 2_500) })
  const { taken, refused, change } = await followIdentity(t, { roots: [mesh.root.certPem], leaf: pem(soon) })
  await until(() => refused.includes('not_yet_valid'), 'the refusal')
  await until(() => Date.now() > Date.parse(soon.certificate.notBefore.toISOString()) + 1_000, 'its time')
  change({})
  await until(() => taken.length === 1, 'the leaf')
})

test('one answer of an agent that was away wakes everybody who backs off, and a refusal wakes nobody', async t => {
  let alive = true
  const client = await writtenAgent(t, (_, __, request) => {
    if (!alive) request.destroy()
    return { body: {} }
  })
  const ask = () => client.send({ lane: 'short', path: '/v1/x', timeoutMs: 5_000 })
  const signal = stopper(t)
  alive = false
  await assert.rejects(ask(), { code: 'agent_unreachable' })
  let woken = 0
  const waits = [1, 2, 3].map(() => client.pauseWhileAway(60_000, signal).then(() => woken++))
  alive = true
  await ask()
  await Promise.all(waits)
  assert.equal(woken, 3)
  const next = client.pauseWhileAway(60_000, signal).then(() => woken++)
  await ask()
  assert.equal(woken, 3, 'an agent that was there is no news')
  void next
})
