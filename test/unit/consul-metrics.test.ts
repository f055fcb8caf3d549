// The built-in proxy's metrics: names, labels, and which way each counts.
import assert from 'node:assert/strict'
import test from 'node:test'
import { Registry } from 'prom-client'
import { addConsulMetrics } from '../../src/admin/consul-metrics.ts'
import type { Counters, ListenerCounters } from '../../src/data-plane/interface.ts'
import { parseMetrics } from '../support/running-sidecar.ts'

const listener = (direction: ListenerCounters['direction'], name: string, by: number) =>
  ({
    direction,
    name,
    open: by,
    bytesToUpstream: 10 * by,
    bytesToDownstream: 100 * by,
  }) as unknown as ListenerCounters

const counters = {
  listeners: new Map([
    ['public', listener('inbound', 'web', 1)],
    ['upstream:service:default:default:db:@127.0.0.1:1', listener('outbound', 'db', 2)],
    ['upstream:prepared_query:default:default:near-db:@127.0.0.1:2', listener('outbound', 'near-db', 3)],
  ]),
} as unknown as Counters

test('six names, dots as underscores: rx is what goes to the dialed side, tx what goes back, with the built-in labels', async () => {
  const register = new Registry()
  addConsulMetrics(register, { counters: () => counters, service: () => 'web' })
  const samples = parseMetrics(await register.metrics())
  const of = (name: string) =>
    samples.filter(sample => sample.name === name).map(({ labels, value }) => ({ ...labels, value }))
  assert.deepEqual(of('inbound_conns'), [{ dst: 'web', value: 1 }])
  assert.deepEqual(of('inbound_rx_bytes'), [{ dst: 'web', value: 10 }])
  assert.deepEqual(of('inbound_tx_bytes'), [{ dst: 'web', value: 100 }])
  const service = { src: 'web', dst_type: 'service', dst: 'db' }
  const query = { src: 'web', dst_type: 'prepared_query', dst: 'near-db' }
  assert.deepEqual(of('upstream_conns'), [
    { ...service, value: 2 },
    { ...query, value: 3 },
  ])
  assert.deepEqual(of('upstream_rx_bytes'), [
    { ...service, value: 20 },
    { ...query, value: 30 },
  ])
  assert.deepEqual(of('upstream_tx_bytes'), [
    { ...service, value: 200 },
    { ...query, value: 300 },
  ])
  assert.equal(new Set(samples.map(({ name }) => name)).size, 6)
})

test('two listeners of one service are one sample, their sum', async () => {
  const register = new Registry()
  const twice = new Map([
    ['upstream:service:default:default:db:@127.0.0.1:1', listener('outbound', 'db', 1)],
    ['upstream:service:default:default:db:@127.0.0.1:2', listener('outbound', 'db', 2)],
  ])
  const sources = { counters: () => ({ listeners: twice }) as unknown as Counters, service: () => 'web' }
  addConsulMetrics(register, sources)
  const conns = parseMetrics(await register.metrics()).filter(({ name }) => name === 'upstream_conns')
  assert.deepEqual(
    conns.map(({ value }) => value),
    [3],
  )
})
