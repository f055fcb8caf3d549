import assert from 'node:assert/strict'
import test from 'node:test'
import { type Overrides, parseConfig } from '../../src/config/config.ts'
import { ConfigError, type Problem } from '../../src/config/problem.ts'
import { scalarSettings } from '../../src/config/schema.ts'

const id = 'spiffe://example.consul/ns/default/dc/dc1/svc/api'
const good = {
  service: 'web',
  identity: { cert_file: 'web.pem', key_file: '/keys/web.key', ca_file: 'ca.pem' },
  inbound: { listen: '127.0.0.1:20000', local_service_address: '127.0.0.1:8080', allow: [id] },
  upstreams: [
    {
      destination_name: 'api',
      local_bind_port: 9191,
      endpoints: ['10.0.0.1:20001', '[::1]:1'],
      expect: [id],
    },
  ],
}

function parse(value: unknown, overrides: Overrides = new Map()) {
  return parseConfig({
    file: '/etc/sidesplice/web.json',
    text: typeof value === 'string' ? value : JSON.stringify(value),
    overrides,
  })
}

function problemsOf(value: unknown, overrides?: Overrides): readonly Problem[] {
  try {
    parse(value, overrides)
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return error.problems
  }
  return []
}

test('a good file is taken, paths relative to it, defaults filled in', () => {
  const config = parse(good)
  assert.deepEqual(config.identityFiles, {
    certFile: '/etc/sidesplice/web.pem',
    keyFile: '/keys/web.key',
    caFile: '/etc/sidesplice/ca.pem',
  })
  assert.equal(config.inbound?.handshakeTimeoutMs, 10_000)
  assert.equal(config.inbound?.localConnectTimeoutMs, 1_000)
  assert.equal(config.inbound?.halfCloseTimeoutMs, 300_000)
  assert.equal(config.upstreams[0]?.connectTimeoutMs, 10_000)
  assert.deepEqual(config.upstreams[0]?.bind, { host: '127.0.0.1', port: 9191 })
  assert.deepEqual(config.upstreams[0]?.endpoints[1], { host: '::1', port: 1 })
  assert.equal(config.process.drainMs, 30_000)
})

const [upstream] = good.upstreams
const { local_bind_port: _port, ...unplaced } = upstream ?? assert.fail()
const withUpstream = (places: object) => ({ ...good, upstreams: [{ ...unplaced, ...places }] })

test('unix sockets stand for the local app and for an upstream', () => {
  const config = parse({
    ...withUpstream({ local_bind_socket_path: '/run/api.sock', local_bind_socket_mode: '0660' }),
    inbound: { ...good.inbound, local_service_address: 'unix:/run/web.sock' },
  })
  assert.deepEqual(config.inbound?.localService, { host: 'unix:/run/web.sock', port: 0 })
  assert.deepEqual(config.upstreams[0]?.bind, { host: 'unix:/run/api.sock', port: 0 })
  assert.equal(config.upstreams[0]?.socketMode, 0o660)
  assert.equal(parse(withUpstream({ local_bind_socket_path: '/run/a' })).upstreams[0]?.socketMode, undefined)
})

test("refused: a socket that is none, is another listener's, or stands beside a port", () => {
  const path = { local_bind_socket_path: '/run/api.sock' }
  const said = (value: object) =>
    problemsOf(value).map(({ key, got, expected }) => `${key}: ${got}, ${expected}`)
  const at = 'upstreams[0].local_bind_socket_path'
  for (const bad of ['run/api.sock', '/', '/run/', `/${'x'.repeat(107)}`, '/run/a\0b']) {
    const [problem] = said(withUpstream({ local_bind_socket_path: bad }))
    assert.ok(problem?.endsWith('an absolute path of at most 107 bytes'), `${bad}: ${problem}`)
  }
  assert.deepEqual(said(withUpstream({ ...path, local_bind_port: 1 })), [
    `${at}: a path, none beside local_bind_port`,
  ])
  assert.deepEqual(said(withUpstream({ ...path, local_bind_address: '127.0.0.2' })), [
    `${at}: a path, none beside local_bind_address`,
  ])
  assert.deepEqual(said(withUpstream({})), [
    'upstreams[0].local_bind_port: nothing, this key, or local_bind_socket_path',
  ])
  assert.deepEqual(said(withUpstream({ local_bind_port: 1, local_bind_socket_mode: '0600' })), [
    'upstreams[0].local_bind_socket_mode: a mode, none without local_bind_socket_path',
  ])
  assert.deepEqual(said(withUpstream({ ...path, local_bind_socket_mode: '0999' })), [
    'upstreams[0].local_bind_socket_mode: "0999", a mode in octal digits, as "0660"',
  ])
  const round = {
    ...withUpstream(path),
    inbound: { ...good.inbound, local_service_address: 'unix:/run/api.sock' },
  }
  assert.deepEqual(said(round), [
    `inbound.local_service_address: unix:/run/api.sock, an address other than that of ${at}`,
  ])
  const local = { ...good, inbound: { ...good.inbound, local_service_address: 'unix:web.sock' } }
  assert.deepEqual(said(local), [
    'inbound.local_service_address: "unix:web.sock", host:port with a port of 1 to 65535, IPv6 in brackets, or unix: and an absolute path',
  ])
})

test('inbound and upstreams may be absent, $schema may be there', () => {
  const { inbound: _, upstreams: __, ...rest } = good
  assert.deepEqual(problemsOf({ $schema: 'x', ...rest }), [])
})

test('timeouts may be numeric strings; others are told apart from them', () => {
  assert.equal(parse({ ...good, connect_timeout_ms: '500' }).upstreams[0]?.connectTimeoutMs, 500)
  assert.equal(parse({ ...good, drain: '1.5' }).process.drainMs, 1_500)
  for (const value of ['500ms', '', '-1', 'Infinity', '0x10', true, null, -1, 0]) {
    const [problem] = problemsOf({ ...good, connect_timeout_ms: value })
    assert.equal(problem?.key, 'connect_timeout_ms', JSON.stringify(value))
  }
})

test("an upstream's own timeout goes before the one of the file", () => {
  const config = parse({
    ...good,
    connect_timeout_ms: 500,
    upstreams: [{ ...good.upstreams[0], connect_timeout_ms: 70 }],
  })
  assert.equal(config.upstreams[0]?.connectTimeoutMs, 70)
})

test('a flag goes before the file, and an error about it names the flag', () => {
  const flag = (value: unknown): Overrides => new Map([['drain', { value, where: '--drain' }]])
  assert.equal(parse({ ...good, drain: 5 }, flag('7')).process.drainMs, 7_000)
  assert.deepEqual(problemsOf({ ...good, drain: 5 }, flag('soon')), [
    { where: '--drain', got: '"soon"', expected: 'a number, or a string that holds one' },
  ])
})

test('every problem is reported at once, each with key, got and expected', () => {
  const problems = problemsOf({
    ...good,
    colour: 'blue',
    inbound: { listen: '20000', allow: ['spiffe://*/svc/web'] },
    upstreams: [{ ...good.upstreams[0], local_bind_port: 70_000, expect: ['spiffe://td/*'] }],
  })
  assert.deepEqual(problems.map(problem => problem.key).toSorted(), [
    'colour',
    'inbound.allow[0]',
    'inbound.listen',
    'inbound.local_service_address',
    'upstreams[0].expect[0]',
    'upstreams[0].local_bind_port',
  ])
  for (const { where, got, expected } of problems)
    assert.ok(where === '/etc/sidesplice/web.json' && got !== '' && expected !== '')
})

for (const [what, value, key] of [
  ['no JSON', '{', undefined],
  ['no object', '[]', undefined],
  [
    'allow is missing',
    { ...good, inbound: { listen: '127.0.0.1:1', local_service_address: '127.0.0.1:2' } },
    'inbound.allow',
  ],
  [
    'an upstream without endpoints',
    { ...good, upstreams: [{ ...good.upstreams[0], endpoints: [] }] },
    'upstreams[0].endpoints',
  ],
  ['a port of 0', { ...good, admin: '127.0.0.1:0' }, 'admin'],
  ['a bare IPv6 address', { ...good, admin: '::1:80' }, 'admin'],
  ['an address that is almost one', { ...good, admin: '127.0.0:80' }, 'admin'],
  ['two listeners at one address', { ...good, admin: '127.0.0.1:9191' }, 'admin'],
  [
    'a listener within a wildcard',
    { ...good, inbound: { ...good.inbound, listen: '0.0.0.0:9191' } },
    'upstreams[0].local_bind_port',
  ],
  [
    'a local app at a listener of our own',
    { ...good, inbound: { ...good.inbound, local_service_address: '127.0.0.1:9191' } },
    'inbound.local_service_address',
  ],
  ['an admin listener beyond loopback', { ...good, admin: '0.0.0.0:19000' }, 'admin'],
  [
    'an upstream listener beyond loopback',
    { ...good, upstreams: [{ ...good.upstreams[0], local_bind_address: '10.0.0.9' }] },
    'upstreams[0].local_bind_address',
  ],
  [
    'a local app beyond loopback',
    { ...good, inbound: { ...good.inbound, local_service_address: 'app:80' } },
    'inbound.local_service_address',
  ],
] as const) {
  test(`refused: ${what}`, () => {
    assert.deepEqual(
      problemsOf(value).map(problem => problem.key),
      [key],
    )
  })
}

test('what is unsafe is taken with its flag', () => {
  const exposed = {
    ...good,
    admin: '0.0.0.0:19000',
    inbound: { ...good.inbound, local_service_address: 'app:80' },
    upstreams: [{ ...good.upstreams[0], local_bind_address: '0.0.0.0' }],
  }
  assert.equal(problemsOf(exposed).length, 3)
  assert.deepEqual(
    problemsOf({ ...exposed, unsafe_admin: true, unsafe_upstream_bind: true, unsafe_local_service: true }),
    [],
  )
  assert.deepEqual(problemsOf({ ...good, metrics: '0.0.0.0:9102' }), [], 'metrics may listen anywhere')
})

test('every setting of the schema says what it is for', () => {
  for (const [name, { description }] of scalarSettings()) assert.ok((description ?? '').length > 10, name)
})
