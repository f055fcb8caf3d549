// Whoever may register a service chooses how it is served, and nothing of the process that serves it.
import assert from 'node:assert/strict'
import test from 'node:test'
import { RegistrationReader } from '../../src/config/registration.ts'
import { scalarSettings } from '../../src/config/schema.ts'

// What a registration may say of what a file may say too.
const registrationKeys = [
  ...['handshake_timeout_ms', 'connect_timeout_ms', 'local_connect_timeout_ms', 'half_close_timeout_ms'],
  ...['idle_timeout_ms', 'end_denied_sessions', 'drain', 'drain_delay'],
]
const agentAccess = [
  ...['http_addr', 'token', 'token_file', 'ca_file', 'ca_path', 'client_cert', 'client_key'],
  ...['tls_server_name', 'datacenter', 'stale', 'cert_file', 'key_file', 'unsafe_whatever_comes'],
]

/** What is said of layers of settings: in the log, once, and listed. */
function told(...layers: readonly (readonly [string, Record<string, unknown>])[]): readonly string[] {
  const warnings: string[] = []
  const reader = new RegistrationReader(new Map(), message => warnings.push(message))
  const before = reader.read()
  for (const _ of [1, 2]) assert.deepEqual(reader.read(...layers), before)
  assert.deepEqual(reader.notices.list(), warnings)
  return warnings
}

for (const name of [...scalarSettings().keys()].filter(key => !registrationKeys.includes(key))) {
  test(`${name} is of the process: a registration that has it is told so, and it is not taken`, () => {
    const warnings = told(['proxy.config', { [name]: 'x' }])
    assert.deepEqual(warnings, [
      `proxy.config: ${name} belongs to the process and is not taken from a registration`,
    ])
  })
}

for (const name of agentAccess) {
  test(`${name}, a way to the agent, is not taken from a registration, nor from an upstream's config`, () => {
    const warnings = told(['proxy.config', { [name]: 'x' }], ['upstream db', { [name]: 'x' }])
    const because = 'belongs to the process and is not taken from a registration'
    assert.deepEqual(warnings.toSorted(), [
      `proxy.config: ${name} ${because}`,
      `upstream db: ${name} ${because}`,
    ])
  })
}
