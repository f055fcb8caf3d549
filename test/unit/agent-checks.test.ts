import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import test, { type TestContext } from 'node:test'
import { openAgent } from '../support/embedded-agent.ts'
import { eventually } from '../support/running-sidecar.ts'

const register = '/v1/agent/service/register'

async function openApp(
  t: TestContext,
): Promise<{ readonly port: number; status: number; close(): Promise<void> }> {
  const server = createServer((_request, response) => {
    response.statusCode = app.status
    response.end('how it is')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const app = {
    port: (server.address() as AddressInfo).port,
    status: 200,
    close: () =>
      new Promise<void>(resolve => {
        server.closeAllConnections()
        server.close(() => resolve())
      }),
  }
  t.after(() => app.close())
  return app
}

test('only passing instances are found, by each kind of check', async t => {
  const { call } = await openAgent(t)
  const app = await openApp(t)
  const found = async () => (await call('GET', '/v1/health/service/app?passing')).json<object[]>().length
  await call('PUT', register, {
    ...{ Name: 'app', Port: app.port },
    Checks: [
      { TCP: `127.0.0.1:${app.port}`, Interval: '1s' },
      { HTTP: `http://127.0.0.1:${app.port}/`, Interval: '1s' },
      { CheckID: 'beat', TTL: '1h' },
    ],
  })
  assert.equal(await found(), 0)
  assert.equal((await call('GET', '/v1/health/service/app')).json<object[]>().length, 1)
  await call('PUT', '/v1/agent/check/pass/beat?note=well')
  await eventually(async () => (await found()) === 1 && true, 'all three to pass')
  app.status = 500
  await eventually(async () => (await found()) === 0 && true, 'HTTP 500 to be critical')
  const checks = (await call('GET', '/v1/health/checks/app')).json<
    { Type: string; Status: string; Output: string }[]
  >()
  assert.match(checks.find(check => check.Type === 'http')?.Output ?? '', /500 Output: how it is/)
  app.status = 429
  await eventually(
    async () =>
      (await call('GET', '/v1/health/checks/app'))
        .json<{ Status: string }[]>()
        .some(check => check.Status === 'warning') && true,
    'HTTP 429 to be a warning',
  )
})

test('a TTL that runs out is critical, a heartbeat makes it what it says', async t => {
  const { call } = await openAgent(t)
  await call('PUT', register, { Name: 'app', Check: { CheckID: 'beat', TTL: '200ms', Status: 'passing' } })
  const state = async () =>
    (await call('GET', '/v1/agent/checks')).json<Record<string, { Status: string; Output: string }>>().beat
  await eventually(async () => (await state())?.Output === 'TTL expired' && true, 'the TTL to run out')
  assert.equal((await state())?.Status, 'critical')
  await call('PUT', '/v1/agent/check/update/beat', { Status: 'warning', Output: 'so so' })
  const said = await call('GET', '/v1/health/checks/app')
  assert.ok(said.text.includes('so so') || said.text.includes('TTL expired'))
  const unknown = await call('PUT', '/v1/agent/check/pass/none')
  assert.deepEqual([unknown.status, unknown.text], [500, 'CheckID "none" does not have associated TTL'])
})

test('an alias is as its service is', async t => {
  const { call } = await openAgent(t)
  await call('PUT', register, {
    Name: 'app',
    Check: { CheckID: 'beat', TTL: '1h' },
    Connect: { SidecarService: {} },
  })
  const alias = async () =>
    (await call('GET', '/v1/agent/checks')).json<Record<string, { Status: string; Output: string }>>()[
      'service:app-sidecar-proxy:2'
    ]
  assert.deepEqual(
    [(await alias())?.Status, (await alias())?.Output],
    ['critical', `Aliased check "Service 'app' check" failing: `],
  )
  await call('PUT', '/v1/agent/check/pass/beat')
  assert.deepEqual([(await alias())?.Status, (await alias())?.Output], ['passing', 'All checks passing.'])
})

test('an instance that is critical for long is taken back, with its sidecar; one that is not stays', async t => {
  const { call } = await openAgent(t)
  const check = { TTL: '1h', DeregisterCriticalServiceAfter: '200ms' }
  await call('PUT', register, { Name: 'gone', Check: check, Connect: { SidecarService: {} } })
  await call('PUT', register, { Name: 'stays', Check: { ...check, Status: 'passing' } })
  await eventually(async () => {
    const left = Object.keys((await call('GET', '/v1/agent/services')).json())
    return left.length === 1 && left[0] === 'stays' && true
  }, 'the critical one to go')
})

test('maintenance takes an instance away until it is over, and the node all of them', async t => {
  const { call } = await openAgent(t)
  await call('PUT', register, { Name: 'app' })
  const found = async () => (await call('GET', '/v1/health/service/app?passing')).json<object[]>().length
  for (const path of ['/v1/agent/service/maintenance/app', '/v1/agent/maintenance']) {
    assert.equal(await found(), 1)
    await call('PUT', `${path}?enable=true&reason=repairs`)
    assert.equal(await found(), 0)
    await call('PUT', `${path}?enable=false`)
  }
  assert.equal(await found(), 1)
  assert.equal((await call('PUT', '/v1/agent/service/maintenance/none?enable=true')).status, 404)
})
