// The soak for a short while (test/soak/soak.ts runs it for as long as one likes): connections come and go, with faults, and nothing
// of them stays.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { soak } from '../soak/soak.ts'
import { native } from '../support/data-planes.ts'

const seconds = 20
const growthBytes = 64 * 1024 * 1024

native('soak', plane => {
  test('sessions that end in every way leave nothing, and their records agree', {
    timeout: 120_000,
  }, async () => {
    const result = await soak({ seconds, perSecond: 25, live: 60, dataPlane: plane.name })
    assert.deepEqual(result.wrong, [])
    assert.deepEqual(result.unequal, [])
    assert.ok(result.closedPairs > 0)
    for (const reason of ['a downstream_reset', 'a upstream_reset', 'b downstream_reset'])
      assert.ok((result.reasons[reason] ?? 0) > 0, reason)
    assert.ok(result.after.descriptors <= result.before.descriptors, 'descriptors')
    assert.ok(result.after.threads <= result.before.threads, 'threads')
    assert.ok(result.late.residentBytes - result.early.residentBytes < growthBytes, 'resident memory')
  })
})
