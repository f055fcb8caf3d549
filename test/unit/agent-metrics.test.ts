import assert from 'node:assert/strict'
import test from 'node:test'
import { agentSettings } from '../../src/agent/settings.ts'
import { ConfigError } from '../../src/config/problem.ts'
import { openAgent } from '../support/embedded-agent.ts'
import { parseFamilies } from '../support/metrics-format.ts'

const path = '/v1/agent/metrics?format=prometheus'

test('with a retention time the agent tells Prometheus what it holds', async t => {
  const { call } = await openAgent(t, {
    telemetry: { prometheus_retention_time: '60s', statsd_address: 'x' },
  })
  await call('PUT', '/v1/agent/service/register', {
    ...{ Name: 'web', Port: 1 },
    Check: { TTL: '1h', Status: 'warning' },
  })
  const answer = await call('GET', path)
  assert.equal(answer.status, 200)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  parseFamilies(answer.text)
  assert.match(answer.text, /^sidesplice_agent_services 1$/m)
  assert.match(answer.text, /^sidesplice_agent_checks\{status="warning"\} 1$/m)
  assert.match(answer.text, /^sidesplice_agent_checks\{status="passing"\} 0$/m)
  assert.match(answer.text, /^process_resident_memory_bytes /m)
  assert.ok(!answer.text.includes('web'), 'no name of a service')
  assert.equal((await call('GET', '/v1/agent/metrics')).status, 400)
})

test('without a retention time there are no metrics, and the answer names the reason', async t => {
  const { call } = await openAgent(t)
  const answer = await call('GET', path)
  assert.deepEqual(
    [answer.status, answer.text],
    [415, 'Prometheus is not enabled since its retention time is not positive'],
  )
})

test('metrics need a token that may see the agent', async t => {
  const { call } = await openAgent(t, {
    ...{ telemetry: { prometheus_retention_time: '60s' }, acl: { enabled: true } },
  })
  const { SecretID: token } = (await call('PUT', '/v1/acl/bootstrap')).json<{ SecretID: string }>()
  assert.equal((await call('GET', path)).status, 403)
  assert.equal((await call('GET', path, undefined, { token })).status, 200)
})

test('a retention time that is none is refused, with its key', () => {
  assert.throws(
    () => agentSettings({ Telemetry: { PrometheusRetentionTime: 'soon' } }, { dev: true }),
    (error: unknown) =>
      error instanceof ConfigError && error.message.includes('telemetry.prometheus_retention_time'),
  )
})
