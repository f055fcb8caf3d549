import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { LeafCertificate } from '../../src/identity/identity.ts'
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts'
import { ExpiryWatch } from '../../src/proxy/expiry.ts'
import { spiffeId } from '../support/pki.ts'

const hourMs = 3_600_000

function leafOf(hours: number): LeafCertificate {
  const now = Date.now()
  const common = {
    id: parseSpiffeId(spiffeId('web')),
    chainPem: '',
    privateKey: Buffer.alloc(0),
    serial: '01',
    fingerprint: '',
  }
  return { ...common, notBeforeAt: now, notAfterAt: now + hours * hourMs }
}

function watch(t: TestContext, leaf: () => LeafCertificate) {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000_000 })
  const said: string[] = []
  const log = {
    debug: () => {},
    info: () => {},
    warn: (_: object, message: string) => said.push(`warn ${message}`),
    error: (_: object, message: string) => said.push(`error ${message}`),
  }
  const expiry = new ExpiryWatch(log)
  expiry.watch(leaf())
  t.after(() => expiry.close())
  return { expiry, said, pass: (hours: number) => t.mock.timers.tick(hours * hourMs) }
}

test('a leaf that nobody has renewed at 90 % of its life is warned about once, and its end is an error', t => {
  const { said, pass } = watch(t, () => leafOf(100))
  pass(89.9)
  assert.deepEqual(said, [])
  pass(0.2)
  assert.equal(said.length, 1)
  assert.match(said[0] ?? '', /^warn .*expires soon/)
  pass(9.8)
  assert.equal(said.length, 1)
  pass(0.2)
  assert.equal(said.length, 2)
  assert.match(said[1] ?? '', /^error .*has expired/)
})

test('a leaf that was renewed in time is not spoken of', t => {
  const { expiry, said, pass } = watch(t, () => leafOf(100))
  pass(80)
  expiry.watch(leafOf(100))
  pass(85)
  assert.deepEqual(said, [])
})
