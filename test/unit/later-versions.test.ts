// Consul 1.9 to 1.20 from written answers: a sidecar's control side is whole with each, whatever they added.
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { followBlocking } from '../../src/consul/blocking-query.ts'
import { Era, type Member } from '../support/consul-eras.ts'
import { RunningMesh } from '../support/running-mesh.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'
import { paths, tellIntentions, tellServices } from '../support/written-services.ts'

async function start(t: TestContext, era: Era) {
  const agent = await startWrittenMesh(t, era.options)
  const upstreams = [era.upstream('db', 19_191)]
  const web: Member = { id: 'web1', name: 'web', publicPort: 21_000, appPort: 8_080, upstreams }
  const db: Member = { id: 'db1', name: 'db', publicPort: 21_001, appPort: 9_090 }
  await tellServices(agent, era, [web, db])
  const running = new RunningMesh(t, agent, 'web1-sidecar-proxy')
  await running.whole()
  await until(() => running.last?.upstreams[0]?.endpoints.length === 1, 'db')
  return { agent, running, web }
}

for (const minor of [9, 10, 11, 13, 16, 18, 20]) {
  const era = new Era(minor)
  test(`with the answers of Consul ${era.name} a sidecar is whole, and nothing is warned of`, async t => {
    const { agent, running } = await start(t, era)
    const { last } = running
    assert.equal(last?.identity.leaf.id.uri, 'spiffe://mesh.test/ns/default/dc/dc1/svc/web')
    assert.deepEqual(last?.inbound?.bind, { host: '0.0.0.0', port: 21_000 })
    assert.deepEqual(last?.upstreams[0]?.endpoints[0]?.address, { host: '127.0.0.1', port: 21_001 })
    assert.equal(running.intentions?.defaultAction, 'deny')
    assert.deepEqual(running.warnings, [])
    // A rule of a service-intentions entry: no ID, no times.
    tellIntentions(agent, 'web', [era.intention('api', 'web', { Action: 'allow' })])
    await until(() => running.intentions?.rules.length === 1, 'the rule')
    assert.equal(running.intentions?.rules[0]?.action, 'allow')
  })
}

test('where /match blocks (1.9) the list is watched no more, and a change comes with the answer that was waited for', async t => {
  const era = new Era(9)
  const { agent, running } = await start(t, era)
  const match = paths.match('web')
  await until(() => agent.waiting(match) === 1 && agent.waiting(paths.list) === 0, 'one watch of two')
  const asked = agent.askedFor(match).length
  const lists = agent.askedFor(paths.list).length
  tellIntentions(agent, 'web', [era.intention('api', 'web', { Action: 'deny' })])
  await until(() => running.intentions?.rules.length === 1, 'the rule')
  assert.ok(agent.askedFor(match).length <= asked + 1, 'no question was asked between')
  assert.equal(agent.askedFor(paths.list).length, lists)
  assert.equal(agent.waiting(paths.list), 0)
})

test('an index that goes backwards is given up: the question is put anew at once, without it, and blocks by the new one', async t => {
  const agent = await startWrittenMesh(t)
  const indexes = () => agent.asked.map(({ query }) => query.get('index'))
  const seen: unknown[] = []
  const stop = new AbortController()
  t.after(() => stop.abort())
  agent.say(paths.roots, { by: 'index', index: 30, body: ['old'] })
  void followBlocking({
    client: agent.client(t),
    lane: 'watch',
    path: paths.roots,
    cursor: 'index',
    parse: ({ body }) => body,
    onValue: value => seen.push(value),
    onFailure: () => {},
    onContact: () => {},
    signal: stop.signal,
    // Were it taken for an endpoint that does not block, nothing more would come.
    pollMs: 3_600_000,
  })
  await until(() => agent.waiting(paths.roots) === 1, 'the watch')
  agent.say(paths.roots, { by: 'index', index: 2, body: ['new'] })
  await until(() => agent.waiting(paths.roots) === 1 && seen.length > 1, 'the new watch')
  assert.deepEqual(indexes(), [null, '30', null, '2'])
  assert.deepEqual(seen, [['old'], ['new'], ['new']])
})

// net/http writes X-Consul-Default-Acl-Policy; what stands between may write it otherwise.
for (const name of ['x-consul-index', 'X-CONSUL-INDEX']) {
  test(`headers are read however they are spelled: ${name}`, async t => {
    const agent = await startWrittenMesh(t)
    agent.say('/v1/x', {
      body: [],
      headers: { [name]: '77', [name.replace(/index/i, 'DEFAULT-acl-Policy')]: 'deny' },
    })
    const answer = await agent.client(t).send({ lane: 'short', path: '/v1/x', timeoutMs: 5_000 })
    assert.deepEqual([answer.index, answer.defaultPolicy], [77, 'deny'])
  })
}

for (const index of ['-5', '1e3', '0x10', 'soon', '', '99999999999999999999']) {
  test(`an index that is no number to send back is none: ${JSON.stringify(index)}`, async t => {
    const agent = await startWrittenMesh(t)
    agent.say('/v1/x', { body: [], headers: { 'X-Consul-Index': index } })
    assert.equal((await agent.client(t).send({ lane: 'short', path: '/v1/x', timeoutMs: 5_000 })).index, 0)
  })
}
