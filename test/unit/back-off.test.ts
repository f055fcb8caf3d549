import assert from 'node:assert/strict'
import test from 'node:test'
import { BackOff } from '../../src/consul/back-off.ts'

const longest = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]

test('each pause is up to twice the last one and half a minute at most, half of it at random', () => {
  const [least, most] = [new BackOff(() => 0), new BackOff(() => 1)]
  assert.deepEqual(
    longest.map(() => most.next()),
    longest,
  )
  assert.deepEqual(
    longest.map(() => least.next()),
    longest.map(ms => ms / 2),
  )
})

test('after a good answer it begins anew', () => {
  const backOff = new BackOff(() => 1)
  for (const ms of longest) assert.equal(backOff.next(), ms)
  backOff.reset()
  assert.equal(backOff.next(), 500)
})

test('an agent that is away for long does not overflow it', () => {
  const backOff = new BackOff(() => 1)
  for (let at = 0; at < 5_000; at++) backOff.next()
  assert.equal(backOff.next(), 30_000)
})
