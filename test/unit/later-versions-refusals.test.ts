// Refusals as Consul 1.9 to 1.20 word them: decided by the status, whose number has changed for some, and logged by their text.
import assert from 'node:assert/strict'
import test from 'node:test'
import { findProxy } from '../../src/consul/find-proxy.ts'
import { SelfRegistration } from '../../src/consul/self-registration.ts'
import { Era, type Member } from '../support/consul-eras.ts'
import { RunningMesh } from '../support/running-mesh.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'
import { paths, tellServices } from '../support/written-services.ts'

const era = new Era(20)
const web: Member = { id: 'web1', name: 'web', publicPort: 21_000, appPort: 8_080 }

// 1.11 and later: hashicorp/consul#10894 (texts), #10632 and #11950 (404 for 500), agent/acl.go; 1.8.7: seen.
for (const [version, status, body] of [
  ['1.8', 404, 'unknown service ID: web1-sidecar-proxy'],
  [
    '1.11',
    404,
    'Unknown service ID "web1-sidecar-proxy". Ensure that the service ID is passed, not the service name.',
  ],
  ['1.12', 403, 'Permission denied: provided token lacks permission \'service:read\' on "web-sidecar-proxy"'],
  ['1.20', 429, ''],
] as const) {
  test(`a registration that is refused as by ${version}, with ${status}, leaves all as it was until it is back`, async t => {
    const agent = await startWrittenMesh(t, era.options)
    await tellServices(agent, era, [web])
    const running = new RunningMesh(t, agent, 'web1-sidecar-proxy')
    await running.whole()
    const proxy = paths.proxy('web1')
    await until(() => agent.waiting(proxy) === 1, 'the watch')
    agent.say(proxy, { status, body })
    const [warning = ''] = await until(() => running.warnings.length > 0 && running.warnings, 'the warning')
    assert.ok(warning.includes(JSON.stringify(`${status} ${body}`.trim()).slice(1, -1)), warning)
    assert.deepEqual(running.last?.inbound?.bind.port, 21_000)
    agent.say(proxy, { by: 'hash', body: era.registration({ ...web, publicPort: 21_005 }) })
    await until(() => running.last?.inbound?.bind.port === 21_005, 'the registration')
  })
}

const findOptions = { wanted: { sidecarFor: 'web1' }, waitMs: 0, onWaiting: () => {} } as const

test('a text of any length is cut, and a text of several lines is its first', async t => {
  const agent = await startWrittenMesh(t, era.options)
  agent.say(paths.services, { status: 500, body: `first ${'x'.repeat(5_000)}\nsecond` })
  const { signal } = new AbortController()
  await assert.rejects(findProxy({ client: agent.client(t), ...findOptions, signal }), (error: Error) => {
    assert.match(error.message, /500 first x+$/)
    assert.ok(error.message.length < 400)
    return true
  })
})

const deep = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`

for (const [what, status, body] of [
  ['a refusal nested too deeply to be written out', 500, deep(200_000)],
  [
    'an ID that is no text',
    200,
    '{"a":{"Kind":"connect-proxy","ID":{"toString":1},"Proxy":{"DestinationServiceID":{"toString":1}}}}',
  ],
  ['services that are none', 200, '[1,null]'],
  ['no JSON', 200, '<html>'],
] as const) {
  test(`a search for the proxy is not ended by ${what}: it is as not registered`, async t => {
    const agent = await startWrittenMesh(t, era.options)
    agent.say(paths.services, { status, body })
    const { signal } = new AbortController()
    await assert.rejects(findProxy({ client: agent.client(t), ...findOptions, signal }), {
      code: 'not_registered',
    })
  })
}

// 1.8.7 with ACLs: 500 `Unknown service {"web-proxy" {}}`; since hashicorp/consul#10632: 404.
for (const [status, body, gone] of [
  [404, 'Unknown service ID "web-proxy". Ensure that the service ID is passed, not the service name.', true],
  [500, 'rpc error making call: No cluster leader', false],
] as const) {
  test(`a proxy that takes its registration back ${gone ? 'is done' : 'tries again, and says so,'} where the answer is ${status}`, async t => {
    const agent = await startWrittenMesh(t, era.options)
    const deregister = '/v1/agent/service/deregister/web-proxy'
    const pass = '/v1/agent/check/pass/web-proxy-ttl'
    agent.say('/v1/agent/service/web-proxy', { status: 404, body: 'unknown service ID: web-proxy' })
    for (const path of ['/v1/agent/service/register', pass]) agent.say(path, { body: '' })
    agent.say(deregister, { status, body })
    const own = new SelfRegistration({
      client: agent.client(t),
      service: 'web',
      listen: { host: '127.0.0.1', port: 20_000 },
      missing: () => [],
      onRegistered: () => {},
      onFailure: () => {},
    })
    own.start()
    await until(() => agent.askedFor(pass).length > 0, 'the heartbeat')
    if (gone) await own.end()
    else await assert.rejects(own.end(), { code: 'agent_refused' })
    assert.equal(agent.askedFor(deregister).length > 1, !gone)
  })
}

test('a heartbeat whose check is unknown, 404 and another text since 1.11 (hashicorp/consul#11950), registers anew', async t => {
  const agent = await startWrittenMesh(t, era.options)
  const body = 'Unknown check ID "web-proxy-ttl". Ensure that the check ID is passed, not the check name.'
  agent.say('/v1/agent/service/web-proxy', { status: 404, body: 'unknown service ID: web-proxy' })
  agent.say('/v1/agent/service/register', { body: '' })
  agent.say('/v1/agent/service/deregister/web-proxy', { body: '' })
  agent.say('/v1/agent/check/pass/web-proxy-ttl', { status: 404, body })
  const own = new SelfRegistration({
    client: agent.client(t),
    service: 'web',
    listen: { host: '127.0.0.1', port: 20_000 },
    missing: () => [],
    onRegistered: () => {},
    onFailure: () => {},
  })
  own.start()
  await until(() => agent.askedFor('/v1/agent/service/register').length >= 2, 'the second registration')
  await own.end()
})
