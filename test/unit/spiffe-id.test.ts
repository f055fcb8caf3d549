import assert from 'node:assert/strict'
import test from 'node:test'
import {
  consulServerName,
  matchesPattern,
  parseSpiffeId,
  parseSpiffePattern,
} from '../../src/identity/spiffe-id.ts'

test('a SPIFFE ID is taken apart, scheme and trust domain in lower case', () => {
  const id = parseSpiffeId('SPIFFE://Example.Consul/ns/default/dc/dc1/svc/Web')
  assert.equal(id.trustDomain, 'example.consul')
  assert.deepEqual(id.segments, ['ns', 'default', 'dc', 'dc1', 'svc', 'Web'])
  assert.equal(id.uri, 'spiffe://example.consul/ns/default/dc/dc1/svc/Web')
})

for (const text of [
  '',
  'web',
  'http://example.consul/svc/web',
  'spiffe://example.consul',
  'spiffe://example.consul/',
  'spiffe:///svc/web',
  'spiffe://user@example.consul/svc/web',
  'spiffe://example.consul:80/svc/web',
  'spiffe://example.consul/svc//web',
  'spiffe://example.consul/svc/web/',
  'spiffe://example.consul/svc/../web',
  'spiffe://example.consul/svc/./web',
  'spiffe://example.consul/svc/web?x=1',
  'spiffe://example.consul/svc/web#x',
  'spiffe://example.consul/svc/we b',
  'spiffe://example.consul/svc/we%2',
  'spiffe://example.consul/svc/*',
  'spiffe://example.consul/svc/web\n',
  'spiffe://exämple.consul/svc/web',
  `spiffe://example.consul/${'a'.repeat(2048)}`,
]) {
  test(`no SPIFFE ID: ${JSON.stringify(text.slice(0, 60))}`, () => {
    assert.throws(() => parseSpiffeId(text), { code: 'bad_spiffe_id' })
  })
}

test('* in a pattern stands for one whole segment, whatever it is', () => {
  const pattern = parseSpiffePattern('spiffe://td/ns/*/svc/web')
  assert.ok(matchesPattern(pattern, parseSpiffeId('spiffe://td/ns/default/svc/web')))
  assert.ok(!matchesPattern(pattern, parseSpiffeId('spiffe://td/ns/a/b/svc/web')), 'not for two')
  assert.ok(!matchesPattern(pattern, parseSpiffeId('spiffe://td/ns/default/svc/api')), 'not for another')
  assert.ok(
    !matchesPattern(pattern, parseSpiffeId('spiffe://td/ns/default/svc/web/more')),
    'not for what follows',
  )
  assert.ok(
    !matchesPattern(pattern, parseSpiffeId('spiffe://other/ns/default/svc/web')),
    'not in another trust domain',
  )
})

test('a pattern has no * in its trust domain and none in a part of a segment', () => {
  for (const text of [
    'spiffe://*/svc/web',
    'spiffe://td/svc/web*',
    'spiffe://td/svc/**',
    'spiffe://*.td/svc/web',
  ]) {
    assert.throws(() => parseSpiffePattern(text), { code: 'bad_spiffe_id' }, text)
  }
})

test('paths are compared to the letter', () => {
  assert.ok(!matchesPattern(parseSpiffePattern('spiffe://td/svc/web'), parseSpiffeId('spiffe://td/svc/Web')))
})

test("the server name is the one that Consul's gateways route by, for IDs of Consul's form alone", () => {
  assert.equal(
    consulServerName(parseSpiffeId('spiffe://td.consul/ns/default/dc/dc1/svc/db')),
    'db.default.dc1.internal.td.consul',
  )
  assert.equal(consulServerName(parseSpiffeId('spiffe://td/workload/db')), undefined)
  assert.equal(consulServerName(parseSpiffeId('spiffe://td/ns/default/dc/dc1/svc/we%20b')), undefined)
})
