// The variables by which Consul's clients find their agent: each is read, and its flag goes before it.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { type AgentValues, clientOptions } from '../../src/cli/agent-options.ts'
import { chooseMode } from '../../src/cli/choose-mode.ts'
import type { ClientOptions } from '../../src/consul/client.ts'
import { mesh } from '../support/pki.ts'

function file(t: TestContext, content: string, name = 'file.pem'): string {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-'))
  t.after(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}

const secure = { CONSUL_HTTP_ADDR: 'https://127.0.0.1:8501' }

interface Case {
  readonly variable: string
  readonly flag?: keyof AgentValues
  readonly one: (t: TestContext) => string
  readonly other: (t: TestContext) => string
  readonly env?: NodeJS.ProcessEnv
  readonly read: (options: ClientOptions) => unknown
  /** What is read where `one` is given. */
  readonly gives: unknown
  readonly otherGives: unknown
}

const { root, web, db } = mesh
const cases: readonly Case[] = [
  {
    variable: 'CONSUL_HTTP_ADDR',
    flag: 'httpAddr',
    one: () => '10.0.0.1:8500',
    other: () => '[::1]:8500',
    read: ({ address }) => address.origin,
    gives: 'http://10.0.0.1:8500',
    otherGives: 'http://[::1]:8500',
  },
  ...(['CONSUL_HTTP_TOKEN', 'CONNECT_PROXY_TOKEN', 'CONSUL_PROXY_TOKEN'] as const).map(
    (variable): Case => ({
      variable,
      flag: 'token',
      one: () => 'one',
      other: () => 'other',
      read: ({ token }) => token(),
      gives: 'one',
      otherGives: 'other',
    }),
  ),
  {
    variable: 'CONSUL_HTTP_TOKEN_FILE',
    flag: 'tokenFile',
    one: t => file(t, 'one\n'),
    other: t => file(t, 'other\n'),
    env: { CONSUL_HTTP_TOKEN: 'weaker' },
    read: ({ token }) => token(),
    gives: 'one',
    otherGives: 'other',
  },
  {
    variable: 'CONSUL_CACERT',
    flag: 'caFile',
    one: t => file(t, root.certPem),
    other: t => file(t, web.certPem),
    env: secure,
    read: ({ tls }) => tls?.().ca,
    gives: root.certPem,
    otherGives: web.certPem,
  },
  {
    variable: 'CONSUL_CAPATH',
    flag: 'caPath',
    one: t => join(file(t, root.certPem), '..'),
    other: t => join(file(t, web.certPem, 'x.crt'), '..'),
    env: secure,
    read: ({ tls }) => tls?.().ca,
    gives: root.certPem,
    otherGives: web.certPem,
  },
  {
    variable: 'CONSUL_CLIENT_CERT',
    flag: 'clientCert',
    one: t => file(t, web.certPem),
    other: t => file(t, db.certPem),
    env: secure,
    read: ({ tls }) => tls?.().cert,
    gives: web.certPem,
    otherGives: db.certPem,
  },
  {
    variable: 'CONSUL_CLIENT_KEY',
    flag: 'clientKey',
    one: t => file(t, web.keyPem),
    other: t => file(t, db.keyPem),
    env: secure,
    read: ({ tls }) => tls?.().key,
    gives: web.keyPem,
    otherGives: db.keyPem,
  },
  {
    variable: 'CONSUL_TLS_SERVER_NAME',
    flag: 'tlsServerName',
    one: () => 'server.dc1.consul',
    other: () => 'server.dc2.consul',
    env: secure,
    read: ({ tls }) => tls?.().serverName,
    gives: 'server.dc1.consul',
    otherGives: 'server.dc2.consul',
  },
  {
    variable: 'CONSUL_HTTP_SSL',
    one: () => 'true',
    other: () => 'false',
    read: ({ address }) => address.tls,
    gives: true,
    otherGives: false,
  },
  {
    variable: 'CONSUL_HTTP_SSL_VERIFY',
    one: () => 'false',
    other: () => 'true',
    env: secure,
    read: ({ tls }) => tls?.().verify,
    gives: false,
    otherGives: true,
  },
  ...(['CONSUL_NAMESPACE', 'CONSUL_PARTITION', 'CONSUL_HTTP_AUTH'] as const).map((variable, at): Case => {
    const option = (['namespace', 'partition', 'basicAuth'] as const)[at] ?? 'namespace'
    return {
      variable,
      one: () => 'one:x',
      other: () => 'other:x',
      read: options => options[option],
      gives: 'one:x',
      otherGives: 'other:x',
    }
  }),
]

for (const { variable, flag, one, other, env = {}, read, gives, otherGives } of cases) {
  test(`${variable} is read${flag === undefined ? '' : ', its flag goes before it'}, and set to nothing it says nothing`, t => {
    const given = { ...env, [variable]: one(t) }
    assert.deepEqual(read(clientOptions({}, given)), gives)
    assert.deepEqual(read(clientOptions({}, { ...env, [variable]: other(t) })), otherGives)
    if (flag !== undefined)
      assert.deepEqual(read(clientOptions({ [flag]: other(t) } as AgentValues, given)), otherGives)
    assert.deepEqual(read(clientOptions({}, { ...env, [variable]: '' })), read(clientOptions({}, env)))
  })
}

for (const [variable, wanted] of [
  ['CONNECT_PROXY_ID', { proxyId: 'x' }],
  ['CONSUL_PROXY_ID', { proxyId: 'x' }],
  ['CONNECT_SIDECAR_FOR', { sidecarFor: 'x' }],
] as const) {
  test(`${variable} names a registration, and set to nothing none`, () => {
    assert.deepEqual(chooseMode({}, { [variable]: 'x' }).mode, { kind: 'registered', wanted })
    assert.equal(chooseMode({ service: 'web' }, { [variable]: '' }).mode.kind, 'flags')
  })
}

test('of the two names of a variable for the ID that which the code of Consul sets goes first', () => {
  const { mode } = chooseMode({}, { CONSUL_PROXY_ID: 'documented', CONNECT_PROXY_ID: 'set' })
  assert.deepEqual(mode, { kind: 'registered', wanted: { proxyId: 'set' } })
})

test('of several variables with a token that of the API goes first, then those that a managed proxy is given', () => {
  const all = { CONSUL_HTTP_TOKEN: 'api', CONNECT_PROXY_TOKEN: 'connect', CONSUL_PROXY_TOKEN: 'documented' }
  const { CONSUL_HTTP_TOKEN, ...managed } = all
  assert.equal(clientOptions({}, all).token(), CONSUL_HTTP_TOKEN)
  assert.equal(clientOptions({}, managed).token(), 'connect')
})

test('a word that is no boolean neither asks for TLS nor takes its verification away', () => {
  assert.equal(clientOptions({}, { CONSUL_HTTP_SSL: 'maybe' }).address.tls, false)
  assert.equal(clientOptions({}, { ...secure, CONSUL_HTTP_SSL_VERIFY: 'no' }).tls?.().verify, true)
})
