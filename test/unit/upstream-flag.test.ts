import assert from 'node:assert/strict'
import test from 'node:test'
import { parseAddressFlag, parseUpstreamFlag } from '../../src/config/upstream-flag.ts'

const good: readonly (readonly [string, string, string, string, number])[] = [
  ['db:9191', 'service', 'db', '127.0.0.1', 9191],
  ['db.service:9191', 'service', 'db', '127.0.0.1', 9191],
  ['near-db.query:9191', 'prepared_query', 'near-db', '127.0.0.1', 9191],
  ['db:127.0.0.2:9191', 'service', 'db', '127.0.0.2', 9191],
  ['db:localhost:1', 'service', 'db', 'localhost', 1],
  ['db::9191', 'service', 'db', '127.0.0.1', 9191],
  ['db.:9191', 'service', 'db', '127.0.0.1', 9191],
  ['db:[::1]:65535', 'service', 'db', '::1', 65535],
  ['db.query:[::1]:9191', 'prepared_query', 'db', '::1', 9191],
  ['db:0x1F', 'service', 'db', '127.0.0.1', 31],
  ['db:127.0.0.1:0b11', 'service', 'db', '127.0.0.1', 3],
]
for (const [text, type, name, host, port] of good) {
  test(`--upstream ${text} is the ${type} ${name} at ${host}, port ${port}`, () => {
    assert.deepEqual(parseUpstreamFlag(text), {
      where: `--upstream ${text}`,
      type,
      name,
      bind: { host, port },
    })
  })
}

const form = 'name[.service|.query]:[address:]port, IPv6 in brackets'
const withPort = `${form}, with a port of 1 to 65535`
const bad: readonly (readonly [string, string])[] = [
  ['', form],
  ['db', form],
  [':9191', form],
  ['.query:9191', form],
  ['db:', form],
  ['my db:9191', form],
  ['a/b:9191', form],
  ['db\n:9191', form],
  ['db.zzz:9191', '.service, .query or nothing between db and its colon'],
  ['db.service.dc2:9191', '.service, .query or nothing between db and its colon'],
  ['db.QUERY:9191', '.service, .query or nothing between db and its colon'],
  ['db:0', withPort],
  ['db:65536', withPort],
  ['db:-1', withPort],
  ['db:9191x', withPort],
  ['db: 9191', withPort],
  ['db:09191', withPort],
  ['db:1e3', withPort],
  ['db:0x10000', withPort],
  ['db:::1:9191', withPort],
  ['db:[127.0.0.1]:9191', withPort],
  ['db:[::1]9191', withPort],
  ['db:1.2.3:9191', withPort],
  ['db:a b:9191', withPort],
  ['db:127.0.0.1:', withPort],
]
for (const [text, expected] of bad) {
  test(`--upstream ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseUpstreamFlag(text), {
      code: 'bad_config',
      message: `--upstream: got ${JSON.stringify(text)}, expected ${expected}`,
    })
  })
}

test('an address flag without a host has that of its kind', () => {
  assert.deepEqual(parseAddressFlag('--listen', ':20000', '0.0.0.0'), { host: '0.0.0.0', port: 20000 })
  assert.deepEqual(parseAddressFlag('--listen', '[::]:20000', '0.0.0.0'), { host: '::', port: 20000 })
  assert.deepEqual(parseAddressFlag('--service-addr', 'app:0x50', '127.0.0.1'), { host: 'app', port: 80 })
})

for (const text of ['', 'nope', '20000', ':', '127.0.0.1:', '::1:20000', ':0', ':65536', '[::1]:020000']) {
  test(`--listen ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseAddressFlag('--listen', text, '0.0.0.0'), {
      code: 'bad_config',
      message: `--listen: got ${JSON.stringify(text)}, expected [host]:port with a port of 1 to 65535, IPv6 in brackets`,
    })
  })
}
