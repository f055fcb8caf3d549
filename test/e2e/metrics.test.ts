// The metrics are Prometheus' text format by its conventions, and right as soon as the traffic has passed.
import assert from 'node:assert/strict'
import net from 'node:net'
import { test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import { connect } from '../support/ends.ts'
import { spiffeId } from '../support/pki.ts'
import { parseMetrics, type RunningSidecar, startPair } from '../support/running-sidecar.ts'

const inbound = { direction: 'inbound', service: 'db' }
const outbound = { direction: 'outbound', service: 'db' }

function ended(sidecar: RunningSidecar, reason: string): Promise<number> {
  return sidecar.metric('sidesplice_sessions_ended_total', { reason })
}

test('every line is of the format, has help and a type, and a name that says its unit', async t => {
  const pair = await startPair(t)
  const client = pair.connect()
  await client.echoes('hello')
  client.socket.end()
  await client.ends()
  const { body, headers } = await pair.web.get('/metrics')
  assert.match(headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/)
  assert.ok(body.endsWith('\n'))
  const types = new Map(
    [...body.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type]) => [name, type]),
  )
  const helped = new Set([...body.matchAll(/^# HELP (\S+) \S/gm)].map(([, name]) => name))
  for (const { name } of parseMetrics(body)) {
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '')
    const type = types.get(family)
    assert.ok(type !== undefined && helped.has(family), name)
    if (!name.startsWith('sidesplice_')) continue
    assert.match(name, /^[a-z_]+$/)
    assert.equal(name.endsWith('_total'), type === 'counter', name)
    if (type === 'histogram') assert.ok(family.endsWith('_seconds'), name)
    assert.doesNotMatch(name, /_(ms|milliseconds|minutes|kb|mb)(_|$)/)
  }
  for (const name of [
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'nodejs_eventloop_lag_seconds',
  ])
    assert.ok(types.has(name), name)
})

test('what was carried is counted, at both sidecars', async t => {
  const pair = await startPair(t)
  for (let round = 0; round < 3; round++) {
    const client = pair.connect()
    await client.echoes('0123456789')
    if (round < 2) {
      client.socket.end()
      await client.ends()
    }
  }
  for (const [sidecar, labels] of [
    [pair.db, inbound],
    [pair.web, outbound],
  ] as const) {
    await sidecar.eventually(async () => (await ended(sidecar, 'closed')) === 2, 'two ended sessions')
    assert.equal(await sidecar.metric('sidesplice_connections_accepted_total', labels), 3)
    assert.equal(await sidecar.metric('sidesplice_sessions_open', labels), 1)
    assert.equal(await sidecar.metric('sidesplice_bytes_to_upstream_total', labels), 30)
    assert.equal(await sidecar.metric('sidesplice_bytes_to_downstream_total', labels), 30)
    assert.equal(await sidecar.metric('sidesplice_handshake_duration_seconds_count', labels), 2)
  }
  const endpoint = { service: 'db', endpoint: formatAddress(pair.dbPublic) }
  assert.equal(await pair.web.metric('sidesplice_endpoint_attempts_total', endpoint), 3)
  assert.equal(await pair.web.metric('sidesplice_endpoint_failures_total', endpoint), 0)
  assert.equal(await pair.web.metric('sidesplice_endpoint_sessions_open', endpoint), 1)
})

test('what failed is counted by its reason, and against the endpoint', async t => {
  const pair = await startPair(t)
  await pair.db.command.stop()
  for (let round = 0; round < 2; round++) await pair.connect().isOver()
  await pair.web.eventually(async () => (await ended(pair.web, 'connect_failed')) === 2, 'two failures')
  const endpoint = { service: 'db', endpoint: formatAddress(pair.dbPublic) }
  assert.equal(await pair.web.metric('sidesplice_attempts_total', { outcome: 'connect_failed' }), 2)
  assert.equal(await pair.web.metric('sidesplice_endpoint_failures_total', endpoint), 2)
  assert.equal(await pair.web.metric('sidesplice_endpoint_passed_over', endpoint), 1)
  assert.equal(await ended(pair.web, 'closed'), 0)
})

test('what was refused is counted', async t => {
  const pair = await startPair(t, { allow: [spiffeId('api')] })
  await pair.connect().isOver()
  await pair.db.eventually(async () => (await ended(pair.db, 'denied')) === 1, 'a refusal')
  assert.equal(await pair.db.metric('sidesplice_sessions_open', inbound), 0)
})

test('a health check is counted, not logged: at the public listener and at an upstream listener', async t => {
  const pair = await startPair(t)
  const checks = 5
  for (const [sidecar, address] of [
    [pair.db, pair.dbPublic],
    [pair.web, pair.webUpstream],
  ] as const) {
    const before = await ended(sidecar, 'closed_before_first_byte')
    for (let at = 0; at < checks; at++) {
      const check = net.connect(address)
      await new Promise((resolve, reject) => check.once('connect', resolve).once('error', reject))
      check.destroy()
    }
    await sidecar.eventually(
      async () => (await ended(sidecar, 'closed_before_first_byte')) - before === checks,
      'the health checks',
    )
  }
  // A connection with a byte is logged behind them, so theirs would be there.
  const client = connect(t, pair.webUpstream)
  await client.echoes('hello')
  client.socket.end()
  await client.ends()
  for (const { command } of [pair.db, pair.web]) {
    assert.match(await command.line('session ended'), / reason=closed$/)
    assert.equal(command.linesWith('session ended').length, 1)
  }
})
