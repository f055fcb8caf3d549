import assert from 'node:assert/strict'
import test from 'node:test'
import { parseAgentAddress } from '../../src/consul/agent-address.ts'

// api/api.go: an address with a scheme is a URL, and a URL without a port means its scheme's.
for (const [text, origin, prefix = ''] of [
  ['https://consul.example', 'https://consul.example:443'],
  ['http://consul.example', 'http://consul.example:80'],
  ['https://consul.example/agent/', 'https://consul.example:443', '/agent'],
  ['https://consul.example:8501', 'https://consul.example:8501'],
  ['https://consul.example:443', 'https://consul.example:443'],
  ['http://[::1]', 'http://[::1]:80'],
  ['http://[::1]:8500', 'http://[::1]:8500'],
  ['consul.example', 'http://consul.example:8500'],
  ['consul.example/agent', 'http://consul.example:8500', '/agent'],
  ['consul.example:80', 'http://consul.example:80'],
  ['127.0.0.1:8500', 'http://127.0.0.1:8500'],
] as const) {
  test(`${text} is ${origin}${prefix}`, () => {
    const address = parseAgentAddress(text, { tls: false })
    assert.deepEqual([address.origin, address.prefix], [origin, prefix])
  })
}

test('a bare host is an agent by HTTPS too, where HTTPS is asked for', () => {
  assert.equal(parseAgentAddress('consul.example', { tls: true }).origin, 'https://consul.example:8500')
})

// Of Consul 1.8.7, by CONSUL_HTTP_SSL=true: it dials https://127.0.0.1:1 for http://127.0.0.1:1, and port 443 where none is named.
for (const [text, origin] of [
  ['http://127.0.0.1:1', 'https://127.0.0.1:1'],
  ['http://127.0.0.1', 'https://127.0.0.1:443'],
  ['https://127.0.0.1:1', 'https://127.0.0.1:1'],
] as const) {
  test(`where HTTPS is asked for ${text} is ${origin}: no scheme takes that back`, () => {
    const { origin: got, tls } = parseAgentAddress(text, { tls: true })
    assert.deepEqual([got, tls], [origin, true])
  })
}

test('a scheme of HTTPS needs no other word', () => {
  assert.equal(parseAgentAddress('https://consul.example', { tls: false }).tls, true)
})

test('what is no address is refused, without what may be a password in it', () => {
  for (const text of [
    '',
    'ftp://consul.example',
    'http://',
    'consul.example?x=1',
    'http://user:secret@',
    'a b',
  ]) {
    assert.throws(
      () => parseAgentAddress(text, { tls: false }),
      (error: Error & { code?: string }) => {
        assert.equal(error.code, 'bad_agent_address', text)
        assert.ok(!error.message.includes('secret'))
        return true
      },
    )
  }
})
