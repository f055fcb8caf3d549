// What is wrong with a file is said before anything runs: every problem, each with file, key, what was got and what was expected.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { check } from '../support/check.ts'
import { spiffeId } from '../support/pki.ts'
import type { SidecarFile } from '../support/running-sidecar.ts'

const inbound = {
  listen: '127.0.0.1:20000',
  local_service_address: '127.0.0.1:8080',
  allow: [spiffeId('api')],
}
const upstream = {
  destination_name: 'db',
  local_bind_port: 9191,
  endpoints: ['127.0.0.1:20001'],
  expect: [spiffeId('db')],
}
const address = 'host:port with a port of 1 to 65535, IPv6 in brackets'
const id = 'a SPIFFE ID, spiffe://<trust domain>/<path>, without *'
const pattern = 'a SPIFFE ID, spiffe://<trust domain>/<path>, in which * may stand for one whole path segment'
const number = 'a number, or a string that holds one'

const notAddresses = [
  '20000',
  ':20000',
  '127.0.0.1:0',
  '127.0.0.1:65536',
  '::1:20000',
  '1.2.3.4.5:80',
  'a b:80',
]

interface Case {
  readonly title: string
  readonly file: SidecarFile | string
  readonly problems: readonly (string | RegExp)[]
}

function allowing(...allow: readonly string[]): SidecarFile {
  return { inbound: { ...inbound, allow } }
}

const cases: readonly Case[] = [
  {
    title: 'an unknown key',
    file: { inbund: inbound },
    problems: [/^sidecar\.json: inbund: got an unknown key, expected one of service, identity, inbound, /],
  },
  {
    title: 'an unknown key of an upstream',
    file: { upstreams: [{ ...upstream, expct: [] } as never] },
    problems: [
      /^sidecar\.json: upstreams\[0\]\.expct: got an unknown key, expected one of destination_name, /,
    ],
  },
  {
    title: 'wrong types, all of them at once',
    file: {
      service: 7 as never,
      inbound: { ...inbound, allow: spiffeId('api') as never },
      upstreams: {} as never,
      drain: true,
      log_json: 'yes',
      admin: 8500,
    },
    problems: [
      'sidecar.json: service: got 7, expected a string',
      `sidecar.json: inbound.allow: got "${spiffeId('api')}", expected an array`,
      'sidecar.json: upstreams: got {}, expected an array',
      `sidecar.json: drain: got true, expected ${number}`,
      'sidecar.json: log_json: got "yes", expected true or false',
      'sidecar.json: admin: got 8500, expected a string',
    ],
  },
  {
    title: 'missing keys, all of them at once',
    file: JSON.stringify({ inbound: {}, upstreams: [{}] }),
    problems: [
      'sidecar.json: service: got nothing, expected this key',
      'sidecar.json: identity: got nothing, expected this key',
      'sidecar.json: inbound.listen: got nothing, expected this key',
      'sidecar.json: inbound.local_service_address: got nothing, expected this key',
      'sidecar.json: inbound.allow: got nothing, expected this key',
      'sidecar.json: upstreams[0].destination_name: got nothing, expected this key',
      'sidecar.json: upstreams[0].local_bind_port: got nothing, expected this key, or local_bind_socket_path',
      'sidecar.json: upstreams[0].endpoints: got nothing, expected this key',
      'sidecar.json: upstreams[0].expect: got nothing, expected this key',
    ],
  },
  {
    title: 'what is no address',
    file: { upstreams: [{ ...upstream, endpoints: notAddresses }] },
    problems: notAddresses.map(
      (text, at) => `sidecar.json: upstreams[0].endpoints[${at}]: got "${text}", expected ${address}`,
    ),
  },
  {
    title: '* as the trust domain, as a part of a segment, and for several segments',
    file: allowing(
      'spiffe://*/ns/default',
      'spiffe://mesh.test/svc/web-*',
      'spiffe://mesh.test/**',
      'web',
      '*',
    ),
    problems: [
      `sidecar.json: inbound.allow[0]: got "spiffe://*/ns/default", expected ${pattern}`,
      `sidecar.json: inbound.allow[1]: got "spiffe://mesh.test/svc/web-*", expected ${pattern}`,
      `sidecar.json: inbound.allow[2]: got "spiffe://mesh.test/**", expected ${pattern}`,
      `sidecar.json: inbound.allow[3]: got "web", expected ${pattern}`,
      `sidecar.json: inbound.allow[4]: got "*", expected ${pattern}`,
    ],
  },
  {
    title: '* in expect',
    file: { upstreams: [{ ...upstream, expect: ['spiffe://mesh.test/ns/default/dc/dc1/svc/*'] }] },
    problems: [
      `sidecar.json: upstreams[0].expect[0]: got "spiffe://mesh.test/ns/default/dc/dc1/svc/*", expected ${id}`,
    ],
  },
  {
    title: 'an upstream without an endpoint or anything to expect',
    file: { upstreams: [{ ...upstream, endpoints: [], expect: [] }] },
    problems: [
      'sidecar.json: upstreams[0].endpoints: got [], expected at least 1 of them',
      'sidecar.json: upstreams[0].expect: got [], expected at least 1 of them',
    ],
  },
  {
    title: 'listeners that collide',
    file: {
      inbound: { ...inbound, listen: '0.0.0.0:9191' },
      upstreams: [upstream, { ...upstream, local_bind_port: 9192 }],
      admin: '127.0.0.1:9192',
      metrics: '[::]:9192',
    },
    problems: [
      'sidecar.json: upstreams[0].local_bind_port: got 127.0.0.1:9191, expected an address other than that of inbound.listen',
      'sidecar.json: admin: got 127.0.0.1:9192, expected an address other than that of upstreams[1].local_bind_port',
      'sidecar.json: metrics: got [::]:9192, expected an address other than that of upstreams[1].local_bind_port',
    ],
  },
  {
    title: 'listeners that collide by the name localhost',
    file: { admin: '127.0.0.1:9192', metrics: 'localhost:9192' },
    problems: ['sidecar.json: metrics: got localhost:9192, expected an address other than that of admin'],
  },
  {
    title: 'timeouts that are no number, or none that makes sense',
    file: {
      connect_timeout_ms: '10s',
      handshake_timeout_ms: 0,
      idle_timeout_ms: -1,
      drain: '',
      upstreams: [{ ...upstream, connect_timeout_ms: 'soon' as never }],
    },
    problems: [
      `sidecar.json: connect_timeout_ms: got "10s", expected ${number}`,
      'sidecar.json: handshake_timeout_ms: got 0, expected at least 1',
      'sidecar.json: idle_timeout_ms: got -1, expected at least 0',
      `sidecar.json: drain: got "", expected ${number}`,
      `sidecar.json: upstreams[0].connect_timeout_ms: got "soon", expected ${number}`,
    ],
  },
  {
    title: 'a choice that there is not',
    file: { log_level: 'loud', access_log: 'some', data_plane: 'rust', ktls: 'maybe' },
    problems: [
      'sidecar.json: log_level: got "loud", expected one of trace, debug, info, warn, error',
      'sidecar.json: access_log: got "some", expected one of all, errors, off',
      'sidecar.json: data_plane: got "rust", expected one of auto, native, javascript',
      'sidecar.json: ktls: got "maybe", expected one of auto, on, off',
    ],
  },
  {
    title: 'text that is not JSON',
    file: '{ "service": "web", }',
    problems: [/^sidecar\.json: got text that is not JSON \(.*position 20.*\), expected a JSON object$/],
  },
  {
    title: 'an empty file',
    file: '',
    problems: [/^sidecar\.json: got text that is not JSON \(.*\), expected a JSON object$/],
  },
  {
    title: 'JSON that is no object',
    file: '[]',
    problems: ['sidecar.json: got [], expected a JSON object'],
  },
  {
    title: 'what the schema finds, what collides, what is exposed and what certificates lack, in one go',
    file: {
      identity: { cert_file: 'none.pem', key_file: 'leaf.key', ca_file: 'ca.pem' },
      inbound: { ...inbound, listen: '127.0.0.1:9191', local_service_address: '10.0.0.1:80' },
      upstreams: [upstream],
      drain: 'long',
    },
    problems: [
      `sidecar.json: drain: got "long", expected ${number}`,
      'sidecar.json: upstreams[0].local_bind_port: got 127.0.0.1:9191, expected an address other than that of inbound.listen',
      'sidecar.json: inbound.local_service_address: got "10.0.0.1", expected a loopback address, or unsafe_local_service (--unsafe-local-service)',
      'none.pem: identity.cert_file: got ENOENT, expected a file that can be read',
    ],
  },
]

describe('refused', { concurrency: 3 }, () => {
  for (const { title, file, problems } of cases) {
    test(title, async t => {
      const checked = await check(t, file)
      // In any order: which problem is told first is nobody's concern.
      const found = checked.problems.map(
        line => problems.find(one => one instanceof RegExp && one.test(line)) ?? line,
      )
      assert.deepEqual(found.map(String).sort(), problems.map(String).sort())
      assert.equal(checked.stdout, '')
      assert.deepEqual([checked.code, checked.signal], [1, null])
    })
  }

  test('a file that is not there', async t => {
    const checked = await check(t, {}, { args: ['--config', '/none/sidecar.json', '--check'] })
    assert.deepEqual(checked.problems, ['/none/sidecar.json: got ENOENT, expected a file that can be read'])
    assert.equal(checked.code, 1)
  })

  test('without --check just as with it, and nothing has run', async t => {
    const checked = await check(t, { inbound, drain: 'x' }, { args: [] })
    assert.deepEqual(checked.problems, [`sidecar.json: drain: got "x", expected ${number}`])
    assert.equal(checked.stdout, '')
    assert.equal(checked.code, 1)
  })
})

describe('accepted', { concurrency: 3 }, () => {
  const good: Readonly<Record<string, SidecarFile>> = {
    'neither inbound nor upstreams': {},
    'inbound without upstreams': { inbound },
    'upstreams without inbound': { upstreams: [upstream] },
    $schema: { $schema: './sidesplice.schema.json', inbound },
    'timeouts and durations as strings': {
      inbound,
      handshake_timeout_ms: '5000',
      connect_timeout_ms: '5000.5',
      drain: '10',
      drain_delay: '0',
      upstreams: [{ ...upstream, connect_timeout_ms: '500' as never }],
    },
    'IPv6 in brackets': {
      inbound: { ...inbound, listen: '[::1]:20000', local_service_address: '[::1]:8080' },
      upstreams: [{ ...upstream, local_bind_address: '::1', endpoints: ['[2001:db8::1]:20000'] }],
      admin: '[::1]:19000',
    },
    'endpoints by host name': {
      upstreams: [{ ...upstream, endpoints: ['db.example.com:20000', 'db:20000'] }],
    },
    'the same port at two addresses': {
      upstreams: [upstream, { ...upstream, local_bind_address: '127.0.0.2' }],
    },
  }
  for (const [title, file] of Object.entries(good)) {
    test(title, async t => {
      const checked = await check(t, file)
      assert.deepEqual(checked.problems, [])
      assert.match(
        checked.stdout,
        /^\/.*\/sidecar\.json: good; spiffe:\/\/mesh\.test\/ns\/default\/dc\/dc1\/svc\/web, /,
      )
      assert.equal(checked.code, 0)
    })
  }

  test('paths relative to the file, wherever the command runs', async t => {
    const checked = await check(t, { inbound }, { cwd: '/' })
    assert.deepEqual(checked.problems, [])
    assert.equal(checked.code, 0)
  })
})
