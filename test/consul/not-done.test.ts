// What a mesh asks for and this version does not do: named in the log once, listed in /state, and nothing else is the worse for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { freePort } from '../support/free-ports.ts'
import { startMeshPair } from '../support/mesh.ts'
import { eventually, parseMetrics } from '../support/running-sidecar.ts'

test('what a registration asks for and does not get is in the log once and in /state, until it asks no more', async t => {
  const agent = await startConsul(t)
  const open = await freePort()
  const pair = await startMeshPair(t, agent, {
    webProxy: { Config: { log_level: 'debug', admin: '0.0.0.0:1', idle_timeout_ms: 'x' } },
  })
  await pair.connect().echoes('hello')
  const listed = () => pair.web.state<{ not_done: string[] }>().then(state => state.not_done.join('\n'))
  for (const key of [/log_level belongs/, /admin belongs/, /idle_timeout_ms: got "x"/])
    assert.match(await listed(), key)
  assert.equal(pair.web.command.linesWith('log_level belongs').length, 1)
  const Upstreams = [
    { DestinationName: 'db', LocalBindPort: pair.upstream.port },
    { DestinationName: 'open', LocalBindAddress: '0.0.0.0', LocalBindPort: open.port },
  ]
  await agent.register(pair.webService({ Config: {}, Upstreams }))
  await pair.web.command.line('upstream open is not started')
  await eventually(async () => /^upstream open is not started/.test(await listed()), 'the new list')
  await pair.connect().echoes('hello')
})

test('a discovery chain that asks for more is told, and its own endpoints are used', async t => {
  const agent = await startConsul(t)
  const put = (entry: object) => agent.call('PUT', '/v1/config', entry)
  await put({ Kind: 'service-defaults', Name: 'db', Protocol: 'http' })
  await put({ Kind: 'service-defaults', Name: 'db2', Protocol: 'http' })
  await put({
    Kind: 'service-splitter',
    Name: 'db',
    Splits: [
      { Weight: 50, Service: 'db' },
      { Weight: 50, Service: 'db2' },
    ],
  })
  await put({ Kind: 'service-resolver', Name: 'db2', Failover: { '*': { Datacenters: ['dc9'] } } })
  const pair = await startMeshPair(t, agent)
  await pair.web.command.line('its discovery chain asks for service-splitter')
  await pair.web.command.line('its discovery chain asks for service-resolver Failover')
  const { not_done } = await pair.web.state<{ not_done: string[] }>()
  assert.equal(not_done.filter(line => line.startsWith('upstream db: its discovery chain')).length >= 2, true)
  await pair.connect().echoes('hello')
})

test('a redirect of the whole service is told', async t => {
  const agent = await startConsul(t)
  await agent.call('PUT', '/v1/config', {
    Kind: 'service-resolver',
    Name: 'db',
    Redirect: { Service: 'db2' },
  })
  const pair = await startMeshPair(t, agent)
  await pair.web.command.line('its discovery chain asks for service-resolver Redirect')
})

test("each watch's age is a metric, young while the agent answers", async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent, { webArgs: ['--consul-metrics'] })
  await pair.connect().echoes('hello')
  const samples = async () => parseMetrics((await pair.web.get('/metrics')).body)
  const ages = (await samples()).filter(({ name }) => name === 'sidesplice_watch_age_seconds')
  assert.deepEqual(ages.map(({ labels }) => labels.watch).toSorted(), [
    'default intention',
    'intentions',
    'leaf',
    'registration',
    'roots',
    'upstream db',
  ])
  for (const { value, labels } of ages) assert.ok(value >= 0 && value < 120, labels.watch)
  const builtIn = (await samples()).filter(({ name }) => /^(inbound|upstream)_/.test(name))
  const of = (name: string) => builtIn.find(sample => sample.name === name)
  assert.deepEqual(of('upstream_conns'), {
    name: 'upstream_conns',
    labels: { src: 'web', dst_type: 'service', dst: 'db' },
    value: 1,
  })
  assert.equal(of('upstream_rx_bytes')?.value, 5)
  assert.equal(of('upstream_tx_bytes')?.value, 5)
  assert.deepEqual(of('inbound_conns')?.labels, { dst: 'web' })
  const plain = parseMetrics((await pair.db.get('/metrics')).body)
  assert.equal(
    plain.filter(({ name }) => /^(inbound|upstream)_/.test(name)).length,
    0,
    'only where asked for',
  )
})
