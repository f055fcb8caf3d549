import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agentSettings } from '../../src/agent/settings.ts'

test('the plain port can not be switched off, and a flag for it goes before the file', () => {
  const files = { Ports: { Http: -1 } }
  assert.throws(() => agentSettings(files, { dev: true }), /ports\.http: got "-1", expected a port/)
  assert.equal(agentSettings(files, { dev: true, httpPort: 8500 }).http.port, 8500)
})

test('each port listens at its own address, else at client_addr, else on loopback', () => {
  const hosts = (files: object) => {
    const settings = agentSettings(
      { ...files, Ports: { Https: 8501 }, CertFile: 'c', KeyFile: 'k', Acl: { Enabled: true } },
      { dev: true },
    )
    return [settings.http.host, settings.https?.address.host]
  }
  assert.deepEqual(hosts({}), ['127.0.0.1', '127.0.0.1'])
  assert.deepEqual(hosts({ ClientAddr: '127.0.0.2' }), ['127.0.0.2', '127.0.0.2'])
  assert.deepEqual(hosts({ ClientAddr: '10.0.0.1', Addresses: { Http: '127.0.0.1' } }), [
    '127.0.0.1',
    '10.0.0.1',
  ])
})

test('beyond loopback HTTPS needs tokens that mean something: without them, or where the default is to allow, it is refused', () => {
  const settings = (acl: object, unsafeListen = false) => {
    const files = { Ports: { Https: 8501 }, CertFile: 'c', KeyFile: 'k', Addresses: { Https: '0.0.0.0' } }
    return agentSettings({ ...files, Acl: acl }, { dev: true, unsafeListen })
  }
  for (const acl of [{}, { Enabled: false }, { Enabled: true, DefaultPolicy: 'allow' }]) {
    assert.throws(() => settings(acl), /addresses\.https: got 0\.0\.0\.0:8501, expected a loopback address/)
    assert.equal(settings(acl, true).https?.address.host, '0.0.0.0')
  }
  assert.equal(settings({ Enabled: true, DefaultPolicy: 'deny' }).https?.address.host, '0.0.0.0')
})

test('HTTPS is off where its port is not above 0, whatever else is set', () => {
  for (const port of [undefined, 0, -1])
    assert.equal(agentSettings({ Ports: { Https: port }, CertFile: 'c' }, { dev: true }).https, undefined)
})
