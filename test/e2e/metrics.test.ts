// What a scrape says after traffic that is known.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import { packageRoot } from '../support/command.ts'
import { connect, type End } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { type Family, parseFamilies } from '../support/metrics-format.ts'
import { issueLeaf, mesh } from '../support/pki.ts'
import {
  launchSidecar,
  type Pair,
  type RunningSidecar,
  startPair,
  startSidecar,
  upstreamTo,
} from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'
import { tlsConnect } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'

describe('the text', { concurrency: 2 }, () => {
  test("is of Prometheus' format, its type in the header", async t => {
    const { pair } = await traffic(t)
    for (const sidecar of [pair.web, pair.db]) {
      const { headers, body } = await sidecar.get('/metrics')
      assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
      assert.ok(parseFamilies(body).size > 30)
    }
  })

  test('names by convention: counters end in _total and nothing else does, times are seconds', async t => {
    const { pair } = await traffic(t)
    for (const { name, type, help } of own(await scrape(pair.web))) {
      assert.equal(name.endsWith('_total'), type === 'counter', name)
      assert.ok(!/_(ms|milliseconds|count|sum|bucket)$/.test(name), name)
      if (/duration|timestamp/.test(name)) assert.match(name, /_seconds$/)
      if (type === 'histogram') assert.match(name, /_seconds$/)
      assert.notEqual(help, '')
    }
  })

  test('holds what the README names, with these labels', async t => {
    const { pair } = await traffic(t)
    const found = new Map<string, Set<string>>()
    for (const sidecar of [pair.web, pair.db]) {
      for (const { name, samples } of own(await scrape(sidecar))) {
        const labels = samples.flatMap(sample => Object.keys(sample.labels)).filter(label => label !== 'le')
        found.set(name, new Set([...(found.get(name) ?? []), ...labels]))
      }
    }
    const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')
    const table = readme.slice(readme.indexOf('| metric | labels'), readme.indexOf('Beside them stand'))
    const named = [...table.matchAll(/^\| (`[^|]*) \|([^|]*)\|/gm)].flatMap(([, names = '', labels = '']) =>
      [...names.matchAll(/`(\w+)`/g)].map(([, name]) => [
        name,
        labels.trim() === '' ? [] : labels.trim().split(', ').toSorted(),
      ]),
    )
    // Watches are of an agent, and here is none: test/consul/not-done looks at their labels.
    assert.deepEqual(found.get('sidesplice_watch_age_seconds'), new Set())
    found.set('sidesplice_watch_age_seconds', new Set(['watch']))
    assert.deepEqual(
      Object.fromEntries([...found].map(([name, labels]) => [name, [...labels].toSorted()]).toSorted()),
      Object.fromEntries(named.toSorted()),
    )
  })
})

test('connections, sessions and bytes are counted as they were', async t => {
  const { pair } = await traffic(t)
  const { web, db } = pair
  const outbound = { direction: 'outbound', service: 'db' }
  const inbound = { direction: 'inbound', service: 'db' }
  // 3 that ended, one that lives, one without a byte.
  await counts(web, outbound, { accepted: 5, open: 1, closed: 3, closed_before_first_byte: 1 })
  // The same, one that is not allowed, and a health check of its own.
  await counts(db, inbound, { accepted: 7, open: 1, closed: 3, closed_before_first_byte: 2, denied: 1 })
  for (const [sidecar, labels, { relay }] of [
    [web, outbound, planeOf('dialing')],
    [db, inbound, planeOf('dialed')],
  ] as const) {
    // 3 times 5 and the 7 of the one that lives; the app answers twice as much.
    assert.equal(await sidecar.metric('sidesplice_bytes_to_upstream_total', labels), 22)
    assert.equal(await sidecar.metric('sidesplice_bytes_to_downstream_total', labels), 44)
    // The 3, and the one without a byte.
    const relayed = { ...labels, relay }
    assert.equal(await sidecar.metric('sidesplice_sessions_relayed_total', relayed), 4)
    assert.equal(await sidecar.metric('sidesplice_spliced_bytes_total', labels), 0)
    assert.equal(await sidecar.metric('sidesplice_policy_waiting', labels), 0)
    assert.equal(await sidecar.metric('sidesplice_listeners_up', labels), 1)
  }
  await counts(web, { direction: 'outbound', service: 'gone' }, { accepted: 7, open: 0, connect_failed: 7 })
  assert.equal(await web.metric('sidesplice_bytes_to_upstream_total', { service: 'gone' }), 0)
})

test('the bytes of a session that lives are counted while it does', async t => {
  const pair = await startPair(t)
  const client = pair.connect()
  await client.echoes('x'.repeat(1000))
  assert.equal(await pair.web.metric('sidesplice_bytes_to_upstream_total'), 1000)
  assert.equal(await pair.db.metric('sidesplice_bytes_to_downstream_total'), 1000)
  await client.echoes('x'.repeat(500))
  assert.equal(await pair.web.metric('sidesplice_bytes_to_upstream_total'), 1500)
  client.socket.end()
  await pair.web.command.line('session ended')
  assert.equal(
    await pair.web.metric('sidesplice_bytes_to_upstream_total'),
    1500,
    'and not once more at its end',
  )
})

test('attempts are counted by outcome and by endpoint, and one that keeps failing is passed over', async t => {
  const { pair, gone } = await traffic(t)
  const { web } = pair
  const attempts = (service: string, outcome: string) =>
    web.metric('sidesplice_attempts_total', { service, outcome })
  // Of those that ended.
  assert.equal(await attempts('db', 'connected'), 4)
  assert.equal(await attempts('db', 'connect_failed'), 0)
  assert.equal(await attempts('gone', 'connect_failed'), 7)
  assert.equal(await attempts('gone', 'connected'), 0)

  const works = { service: 'db', endpoint: formatAddress(pair.dbPublic) }
  const fails = { service: 'gone', endpoint: formatAddress(gone) }
  assert.equal(await web.metric('sidesplice_endpoint_attempts_total', works), 5)
  assert.equal(await web.metric('sidesplice_endpoint_failures_total', works), 0)
  assert.equal(await web.metric('sidesplice_endpoint_sessions_open', works), 1)
  assert.equal(await web.metric('sidesplice_endpoint_passed_over', works), 0)
  assert.equal(await web.metric('sidesplice_endpoint_attempts_total', fails), 7)
  assert.equal(await web.metric('sidesplice_endpoint_failures_total', fails), 7)
  assert.equal(await web.metric('sidesplice_endpoint_sessions_open', fails), 0)
  // For half a minute after the seventh failure in a row.
  assert.equal(await web.metric('sidesplice_endpoint_passed_over', fails), 1)
})

test('durations are measured of each session that came so far', async t => {
  const { pair } = await traffic(t)
  const measured = async (sidecar: RunningSidecar, what: string, service: string) =>
    sidecar.metric(`sidesplice_${what}_duration_seconds_count`, { service })
  assert.equal(await measured(pair.web, 'policy', 'db'), 4)
  assert.equal(await measured(pair.web, 'connect', 'db'), 4)
  assert.equal(await measured(pair.web, 'handshake', 'db'), 4)
  assert.equal(await measured(pair.web, 'policy', 'gone'), 7)
  assert.equal(await measured(pair.web, 'connect', 'gone'), 0)
  // The denied one is decided and not dialed; the health check did neither.
  assert.equal(await measured(pair.db, 'handshake', 'db'), 5)
  assert.equal(await measured(pair.db, 'policy', 'db'), 5)
  assert.equal(await measured(pair.db, 'connect', 'db'), 4)
  const sum = await pair.web.metric('sidesplice_handshake_duration_seconds_sum', { service: 'db' })
  assert.ok(sum > 0 && sum < 20, `${sum} seconds for four handshakes`)
})

test('a listener that takes another name counts anew, one that is gone is not shown', async t => {
  const { pair } = await traffic(t)
  await pair.web.rewrite({ upstreams: [upstreamTo(pair.dbPublic, pair.webUpstream, 'renamed')] })
  await pair.web.applied(3)
  assert.equal(await pair.web.metric('sidesplice_listeners_up', { service: 'renamed' }), 1)
  const services = (await scrape(pair.web))
    .get('sidesplice_listeners_up')
    ?.samples.map(({ labels }) => labels.service)
  // db has a session that lives.
  assert.deepEqual(services?.toSorted(), ['db', 'renamed'])
  assert.equal(await pair.web.metric('sidesplice_listeners_up', { service: 'db' }), 0)
})

test("the certificate's times are those that it holds, and follow when it changes", async t => {
  const sidecar = await startSidecar(t, {})
  const times = async () => ({
    from: await sidecar.metric('sidesplice_leaf_not_before_timestamp_seconds'),
    to: await sidecar.metric('sidesplice_leaf_not_after_timestamp_seconds'),
  })
  assert.deepEqual(await times(), timesOf(mesh.web.certPem))
  const next = await issueLeaf('web', mesh.root, { notAfter: new Date(Date.now() + 7_200_000) })
  assert.notDeepEqual(timesOf(next.certPem), timesOf(mesh.web.certPem))
  await sidecar.folder.writeIdentity(next, mesh.root)
  await sidecar.applied(2)
  assert.deepEqual(await times(), timesOf(next.certPem))
})

test('readiness is 0 while a listener is down and 1 once it is up', async t => {
  const taken = await freePort()
  const server = net.createServer()
  await new Promise<void>(resolve => server.listen(taken, resolve))
  t.after(() => server.close())
  const sidecar = await launchSidecar(t, { inbound: inboundAt(taken) })
  await sidecar.command.line('not ready,')
  assert.equal(await sidecar.metric('sidesplice_ready'), 0)
  assert.equal(await sidecar.metric('sidesplice_listeners_up'), 0)
  server.close()
  await sidecar.command.line(' ready ')
  assert.equal(await sidecar.metric('sidesplice_ready'), 1)
  assert.equal(await sidecar.metric('sidesplice_listeners_up'), 1)
})

test('reloads are counted by result; the first configuration is none', async t => {
  const sidecar = await startSidecar(t, {})
  const reloads = async () => ({
    success: await sidecar.metric('sidesplice_config_reloads_total', { result: 'success' }),
    failure: await sidecar.metric('sidesplice_config_reloads_total', { result: 'failure' }),
    generation: await sidecar.metric('sidesplice_config_generation'),
  })
  assert.deepEqual(await reloads(), { success: 0, failure: 0, generation: 1 })
  await sidecar.rewrite({ drain: 5 })
  await sidecar.applied(2)
  assert.deepEqual(await reloads(), { success: 1, failure: 0, generation: 2 })
  await sidecar.folder.write('sidecar.json', '{')
  await sidecar.command.line('configuration refused')
  assert.deepEqual(await reloads(), { success: 1, failure: 1, generation: 2 })
  await sidecar.rewrite({ drain: 6 })
  await sidecar.applied(3)
  assert.deepEqual(await reloads(), { success: 2, failure: 1, generation: 3 })
})

test('the build is named', async t => {
  const sidecar = await startSidecar(t, {})
  const [sample] = (await scrape(sidecar)).get('sidesplice_build_info')?.samples ?? []
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
  const { node, openssl } = process.versions
  assert.deepEqual(sample?.labels, { version, data_plane: planeOf('dialing').dataPlane, node, openssl })
  assert.equal(sample?.value, 1)
})

test('SIGUSR1 prints the same metrics to standard error', async t => {
  const { pair } = await traffic(t)
  const served = await scrape(pair.web)
  assert.equal(pair.web.command.stderr, '')
  pair.web.command.signal('SIGUSR1')
  const printed = await until(() => {
    // Whole once the last metric of a scrape is there, with the line's end behind it.
    const text = pair.web.command.stderr
    return text.includes([...served.keys()].at(-1) ?? '') && text.endsWith('\n') && parseFamilies(text)
  }, 'the metrics')
  assert.deepEqual([...printed.keys()], [...served.keys()])
  const ownOf = (families: ReadonlyMap<string, Family>) =>
    own(families).map(({ name, samples }) => ({ name, samples }))
  assert.deepEqual(ownOf(printed), ownOf(served))
})

interface Traffic {
  readonly pair: Pair
  /** An endpoint at which nothing listens. */
  readonly gone: Address
}

/** The same every time; when it resolves, all of it is counted. */
async function traffic(t: TestContext): Promise<Traffic> {
  // Twice what it is sent.
  const serve = ({ socket }: End) => {
    socket.on('data', (chunk: Buffer) => socket.write(Buffer.concat([chunk, chunk])))
    socket.on('end', () => socket.end())
  }
  const pair = await startPair(t, { serve })
  const gone = await freePort()
  const goneUpstream = await freePort()
  await pair.web.rewrite({
    upstreams: [upstreamTo(pair.dbPublic, pair.webUpstream), upstreamTo(gone, goneUpstream, 'gone')],
  })
  await pair.web.applied(2)

  for (let clean = 0; clean < 3; clean++) {
    const client = pair.connect()
    client.send('hello')
    await client.gets('hellohello')
    client.socket.end()
    await client.ends()
  }
  const living = pair.connect()
  living.send('goodbye')
  await living.gets('goodbyegoodbye')
  const unused = pair.connect()
  unused.socket.end()
  await unused.ends()
  for (let refused = 0; refused < 7; refused++) await connect(t, goneUpstream).isOver()
  await tlsConnect(t, pair.dbPublic, { certificate: mesh.db, root: mesh.root }).isOver()
  connect(t, pair.dbPublic).socket.end()

  const ended = async (sidecar: RunningSidecar) =>
    (await scrape(sidecar))
      .get('sidesplice_sessions_ended_total')
      ?.samples.reduce((sum, { value }) => sum + value, 0)
  await pair.web.eventually(async () => (await ended(pair.web)) === 11, 'the ends at web')
  await pair.db.eventually(async () => (await ended(pair.db)) === 6, 'the ends at db')
  return { pair, gone }
}

async function counts(
  sidecar: RunningSidecar,
  labels: Readonly<Record<string, string>>,
  { accepted, open, ...reasons }: { accepted: number; open: number; [reason: string]: number },
): Promise<void> {
  assert.equal(await sidecar.metric('sidesplice_connections_accepted_total', labels), accepted)
  assert.equal(await sidecar.metric('sidesplice_sessions_open', labels), open)
  const ended = (await scrape(sidecar))
    .get('sidesplice_sessions_ended_total')
    ?.samples.filter(sample => sample.labels.service === labels.service)
  assert.deepEqual(
    Object.fromEntries(ended?.map(sample => [sample.labels.reason, sample.value]) ?? []),
    reasons,
  )
  for (const sample of ended ?? []) assert.equal(sample.labels.direction, labels.direction)
}

async function scrape(sidecar: RunningSidecar): Promise<ReadonlyMap<string, Family>> {
  return parseFamilies((await sidecar.get('/metrics')).body)
}

function own(families: ReadonlyMap<string, Family>): readonly Family[] {
  return [...families.values()].filter(({ name }) => name.startsWith('sidesplice_'))
}

function timesOf(certPem: string): { readonly from: number; readonly to: number } {
  const { validFrom, validTo } = new X509Certificate(certPem)
  return { from: Date.parse(validFrom) / 1000, to: Date.parse(validTo) / 1000 }
}

function inboundAt(listen: Address) {
  return { listen: formatAddress(listen), local_service_address: '127.0.0.1:9', allow: [] as string[] }
}
