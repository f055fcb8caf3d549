// Deadlines of the JavaScript data plane: neither early, nor shortened by a loop that stood still.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { after } from '../../src/data-plane/deadline.ts'

test('a deadline is never early, not by the part of a millisecond that timers drop', async () => {
  for (let round = 0; round < 50; round++) {
    const startedAt = performance.now()
    await new Promise<void>(resolve => after(2, resolve))
    assert.ok(performance.now() - startedAt >= 2)
  }
})

test('a deadline that passed while the loop stood still waits for what came in meanwhile, once the loop goes on', async () => {
  let expired = false
  const deadline = after(5, () => {
    expired = true
  })
  // Longer than what counts as late scheduling.
  for (const startedAt = performance.now(); performance.now() - startedAt < 100; );
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(expired, false)
  assert.ok(deadline.leftMs() > 0)
  deadline.cancel()
})

test('a cancelled deadline has nothing left and does not expire', async () => {
  const deadline = after(1, () => assert.fail('it expired'))
  deadline.cancel()
  assert.equal(deadline.leftMs(), 0)
  await new Promise<void>(resolve => after(5, resolve))
})
