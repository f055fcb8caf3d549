// How soon a change of an upstream's instances is known where others came just before it.
import assert from 'node:assert/strict'
import test from 'node:test'
import { UpstreamFollower } from '../../src/consul/upstream-follower.ts'
import { until } from '../support/until.ts'
import { WaitingClock } from '../support/waiting-clock.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'

const health = '/v1/health/connect/db'
const none = () => {}
const changes = 10

test('ten changes of instances in a row are known in less than a second each', async t => {
  const agent = await startWrittenMesh(t)
  const say = (count: number) =>
    agent.say(health, {
      body: Array.from({ length: count }, (_, at) => ({
        Node: { Address: '10.0.0.1', Datacenter: 'dc1' },
        Service: { Port: 20_000 + at, Proxy: { DestinationServiceName: 'db' } },
      })),
      by: 'index',
    })
  say(0)
  const stop = new AbortController()
  t.after(() => stop.abort())
  let known = -1
  const clock = new WaitingClock()
  const follower = new UpstreamFollower({
    client: agent.client(t),
    ...{ name: 'db', type: 'service', datacenter: '', namespace: '' },
    onInstances: instances => {
      known = instances.length
    },
    onHidden: none,
    onFailure: error => assert.fail(error.message),
    onContact: none,
    signal: stop.signal,
    clock,
  })
  void follower.run()
  await until(() => agent.waiting(health) === 1 && known === 0, 'the watch')
  const startedAt = clock.now()
  for (let count = 1; count <= changes; count++) {
    say(count)
    await until(() => known === count, 'the change', 60_000)
  }
  // By one question a second behind a burst of two it is eight seconds at the least.
  assert.ok(clock.now() - startedAt < (changes - 2) * 1_000)
})
