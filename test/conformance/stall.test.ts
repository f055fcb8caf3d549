// The JavaScript thread stands still for longer than every time limit: sessions live on, and connections begun meanwhile succeed.
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { conformance } from '../support/data-planes.ts'
import { openRig } from '../support/rig.ts'
import type { FromWorld, ToWorld } from '../support/stalled-world.ts'
import { until } from '../support/until.ts'

const stallMs = 3_000
const shorterStallMs = 2_000
// Shorter than either, and long enough for twenty handshakes on a machine that does something else as well.
const limits = { handshakeTimeoutMs: 1_500, policyTimeoutMs: 1_500 }

conformance('a stalled JavaScript thread', plane => {
  test('sessions survive it, and connections begun meanwhile succeed', async t => {
    const world = openWorld(t)
    const app = await world.next('app')
    const rig = await openRig(t, plane, { outbound: limits, inbound: limits })
    rig.b.admits(app.address)

    world.post({ type: 'connect', address: rig.address, count: 10, word: 'before' })
    assert.deepEqual((await world.heard('before')).failed, [])
    world.post({ type: 'say', word: 'during' })
    world.post({ type: 'connect', address: rig.address, count: 10, word: 'meanwhile' })
    stall(stallMs)
    assert.deepEqual((await world.heard('meanwhile')).failed, [])
    assert.deepEqual((await world.heard('during')).failed, [])
    world.post({ type: 'say', word: 'after' })
    assert.deepEqual((await world.heard('after')).failed, [])
    assert.equal(rig.a.plane.sessions().length, 20)
    assert.deepEqual([...rig.a.records, ...rig.b.records], [])
  })

  test('connections that are shaking hands when it begins succeed', async t => {
    const world = openWorld(t)
    const app = await world.next('app')
    const rig = await openRig(t, plane, { outbound: limits, inbound: limits })
    rig.b.admits(app.address)
    world.post({ type: 'connect', address: rig.address, count: 20, word: 'hello' })
    await until(
      () => rig.b.plane.counters().listeners.get('public')?.accepted !== 0,
      'the first to be accepted',
    )
    stall(shorterStallMs)
    const { failed } = await world.heard('hello')
    assert.deepEqual([...rig.a.records, ...rig.b.records], [])
    assert.deepEqual(failed, [])
  })

  test('a policy that is slow to answer because of it is not late', async t => {
    const world = openWorld(t)
    const app = await world.next('app')
    const rig = await openRig(t, plane, { outbound: limits, inbound: limits })
    rig.b.admits(app.address)
    const { admit } = rig.b
    rig.b.admit = (question, answer) => {
      // As an answer that comes in by the network: read after the stall, in the turn in which the time limit is seen to be over.
      setImmediate(() => admit(question, answer))
      if (rig.b.admitQuestions.length === 1) stall(shorterStallMs)
    }
    world.post({ type: 'connect', address: rig.address, count: 5, word: 'hello' })
    assert.deepEqual((await world.heard('hello')).failed, [])
  })
})

function stall(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

function openWorld(t: TestContext) {
  const worker = new Worker(new URL('../support/stalled-world.ts', import.meta.url))
  const messages: FromWorld[] = []
  worker.on('message', (message: FromWorld) => messages.push(message))
  t.after(async () => {
    worker.postMessage({ type: 'stop' })
    await new Promise(resolve => worker.once('exit', resolve))
  })
  const next = <T extends FromWorld['type']>(
    type: T,
    accept: (message: Extract<FromWorld, { type: T }>) => boolean = () => true,
  ) =>
    until(
      () =>
        messages.find(
          (message): message is Extract<FromWorld, { type: T }> =>
            message.type === type && accept(message as never),
        ),
      `the message ${type}`,
    )
  return {
    next,
    post: (message: ToWorld) => worker.postMessage(message),
    heard: (word: string) => next('heard', message => message.word === word),
  }
}
