// How soon a change of intentions is known where others came just before it.
import assert from 'node:assert/strict'
import test from 'node:test'
import type { Intentions } from '../../src/authorization/intentions.ts'
import { IntentionsFollower } from '../../src/consul/intentions-follower.ts'
import { until } from '../support/until.ts'
import { WaitingClock } from '../support/waiting-clock.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'

const list = '/v1/connect/intentions'
const match = '/v1/connect/intentions/match?name=db'
const none = () => {}
const changes = 10

test('up to 1.8, where the list announces changes, ten in a row are known in less than a second each', async t => {
  const agent = await startWrittenMesh(t)
  const say = (rules: readonly object[]) => {
    agent.say(match, { body: { db: rules } })
    agent.say(list, { body: [], by: 'index' })
  }
  say([])
  agent.say('/v1/agent/connect/authorize', { body: { Authorized: false, Reason: 'Default behavior' } })
  const stop = new AbortController()
  t.after(() => stop.abort())
  const told: Intentions[] = []
  const clock = new WaitingClock()
  const follower = new IntentionsFollower({
    client: agent.client(t),
    service: 'db',
    onIntentions: intentions => told.push(intentions),
    onFailure: none,
    onContact: none,
    onWarning: none,
    signal: stop.signal,
    // Nobody else says that anything has changed.
    pollMs: 3_600_000,
    clock,
  })
  void follower.run()
  await until(() => agent.waiting(list) === 1 && told.length > 0, 'the watch of the list')
  const startedAt = clock.now()
  for (let count = 1; count <= changes; count++) {
    const rule = { SourceName: `s${count}`, DestinationName: 'db', Action: 'deny' }
    say(Array.from({ length: count }, () => rule))
    await until(() => told.at(-1)?.rules.length === count, 'the change', 60_000)
  }
  // By the pace of what is not urgent, one a second behind a burst of two, it is eight seconds at the least; by this one two.
  assert.ok(clock.now() - startedAt < (changes - 2) * 1_000)
})
