import assert from 'node:assert/strict'
import test from 'node:test'
import { type ChoiceFacts, orderEndpoints, passedOverUntil } from '../../src/upstream/choice.ts'
import type { EndpointCounters } from '../../src/upstream/endpoint-counters.ts'

const fresh: EndpointCounters = {
  open: 0,
  dialing: 0,
  attempts: 0,
  failures: 0,
  consecutiveFailures: 0,
  failingSince: 0,
  lastFailureAt: 0,
}
const counters = (of: Record<string, Partial<EndpointCounters>>) =>
  new Map(Object.entries(of).map(([name, some]) => [name, { ...fresh, ...some }]))
/** The names in their order, for endpoints that weigh the same. */
function order(names: readonly string[], facts: Omit<ChoiceFacts, 'most'>): readonly string[] {
  const candidates = names.map(name => ({ name, weight: 1 }))
  return orderEndpoints(candidates, { ...facts, most: 16 }).map(({ name }) => name)
}
/** Repeatable, spread over 0 to 1. */
function seeded(seed: number) {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

test('of two endpoints the one with fewer open sessions comes first, always', () => {
  const random = seeded(1)
  for (let round = 0; round < 100; round++) {
    const found = order(['a', 'b'], {
      counters: counters({ a: { open: 3 }, b: { open: 2 } }),
      now: 0,
      random,
    })
    assert.deepEqual(found, ['b', 'a'])
  }
})

test('of many endpoints with as many sessions each is first about as often', () => {
  const random = seeded(7)
  const first = new Map<string, number>()
  const names = ['a', 'b', 'c', 'd']
  for (let round = 0; round < 4_000; round++) {
    const [name = ''] = order(names, { counters: new Map(), now: 0, random })
    first.set(name, (first.get(name) ?? 0) + 1)
  }
  for (const name of names) assert.ok((first.get(name) ?? 0) > 800, `${name}: ${first.get(name)}`)
})

test('every endpoint is in the order, once', () => {
  const names = ['a', 'b', 'c', 'd', 'e']
  const found = order(names, {
    counters: counters({ c: { consecutiveFailures: 9, lastFailureAt: 0 } }),
    now: 1,
    random: seeded(3),
  })
  assert.deepEqual(found.toSorted(), names)
  assert.equal(found.at(-1), 'c')
})

test('one failure does not pass an endpoint over, the second in a row does', () => {
  const until = (consecutiveFailures: number) =>
    passedOverUntil({ ...fresh, consecutiveFailures, failingSince: 1_000, lastFailureAt: 1_000 }, 1_001)
  assert.equal(until(0), undefined)
  assert.equal(until(1), undefined)
  assert.equal(until(2), 2_000)
})

test('an endpoint that fails each time that it is tried is passed over for a time that doubles up to a minute', () => {
  const failing = { ...fresh, consecutiveFailures: 2, failingSince: 1_000, lastFailureAt: 1_000 }
  const passedOverMs: number[] = []
  for (let tried = 0; tried < 9; tried++) {
    const until = passedOverUntil(failing, failing.lastFailureAt) ?? 0
    passedOverMs.push(until - failing.lastFailureAt)
    Object.assign(failing, { consecutiveFailures: failing.consecutiveFailures + 1, lastFailureAt: until })
  }
  assert.deepEqual(passedOverMs, [1_000, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
})

test('many failures at once pass an endpoint over for no longer than two', () => {
  const burst = { ...fresh, consecutiveFailures: 500, failingSince: 1_000, lastFailureAt: 1_010 }
  assert.equal(passedOverUntil(burst, 1_011), 2_010)
})

test('once its time is over an endpoint is tried again, by one session at a time', () => {
  const failing = { ...fresh, consecutiveFailures: 2, failingSince: 1_000, lastFailureAt: 1_000 }
  assert.equal(passedOverUntil(failing, 2_000), undefined)
  assert.notEqual(passedOverUntil({ ...failing, dialing: 1 }, 2_000), undefined)
})

test('where all are passed over all are tried, the one whose time is over soonest first', () => {
  const failing = counters({
    a: { consecutiveFailures: 5, failingSince: 100, lastFailureAt: 2_100 },
    b: { consecutiveFailures: 2, failingSince: 2_000, lastFailureAt: 2_100 },
  })
  assert.deepEqual(order(['a', 'b'], { counters: failing, now: 2_200, random: Math.random }), ['b', 'a'])
})

test('an endpoint of three times the weight carries three times the sessions', () => {
  const random = seeded(11)
  const open = new Map<string, EndpointCounters>()
  const candidates = [
    { name: 'heavy', weight: 3 },
    { name: 'light', weight: 1 },
  ]
  for (let session = 0; session < 400; session++) {
    const [first] = orderEndpoints(candidates, { counters: open, now: 0, random, most: 1 })
    if (first !== undefined) open.set(first.name, { ...fresh, open: (open.get(first.name)?.open ?? 0) + 1 })
  }
  const heavy = open.get('heavy')?.open ?? 0
  assert.ok(heavy >= 295 && heavy <= 305, `${heavy} of 400`)
})

test('an order is no longer than it may be', () => {
  const candidates = Array.from({ length: 50 }, (_, at) => ({ name: `e${at}`, weight: 1 }))
  assert.equal(
    orderEndpoints(candidates, { counters: new Map(), now: 0, random: seeded(5), most: 16 }).length,
    16,
  )
})
