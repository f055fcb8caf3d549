// The log: the same fields as text and as JSON, as much as was asked for, every line there when the process is gone.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import { connect } from '../support/ends.ts'
import { spiffeId } from '../support/pki.ts'
import { type Pair, startPair } from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'

const levels = ['trace', 'debug', 'info', 'warn', 'error']
const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

/** One session that closes, one that finds the app gone. */
async function traffic(pair: Pair): Promise<void> {
  const client = pair.connect()
  await client.echoes('hello')
  client.socket.end()
  await client.ends()
  pair.app.close()
  await pair.connect().isOver()
}

function fieldsOf(textLine: string): Record<string, unknown> {
  const [, time, level, msg, pairs = ''] =
    /^(\S+) (TRACE|DEBUG|INFO|WARN|ERROR) +(.*?)((?: [a-z_]+=(?:"(?:[^"\\]|\\.)*"|\[.*?\](?= |$)|[^ "[]\S*))*)$/.exec(
      textLine,
    ) ?? []
  assert.ok(time !== undefined && level !== undefined, textLine)
  const fields = [...pairs.matchAll(/ ([a-z_]+)=("(?:[^"\\]|\\.)*"|\[.*?\](?= |$)|\S+)/g)].map(
    ([, key, value = '']) => [
      key,
      /^(".*"|\[.*\]|-?[0-9.]+|true|false)$/.test(value) ? JSON.parse(value) : value,
    ],
  )
  return { level: level.toLowerCase(), time, ...Object.fromEntries(fields), msg }
}

test('a line has the same fields as text and as JSON', async t => {
  const pair = await startPair(t, { dbOptions: { args: ['--log-json'] } })
  await traffic(pair)
  await Promise.all([pair.db.command.stop(), pair.web.command.stop()])
  const json = pair.db.command.lines.map(line => JSON.parse(line) as Record<string, unknown>)
  const text = pair.web.command.lines.map(fieldsOf)
  for (const line of [...json, ...text]) {
    assert.match(String(line.time), timeForm)
    assert.ok(levels.includes(String(line.level)), String(line.level))
    assert.equal(typeof line.msg, 'string')
  }
  const clean = (lines: typeof json) => lines.find(({ reason }) => reason === 'closed') ?? {}
  const common = [
    ...['level', 'time', 'session', 'direction', 'service', 'peer', 'downstream'],
    ...['bytes_to_upstream', 'bytes_to_downstream', 'policy_ms', 'connect_ms', 'handshake_ms', 'duration_ms'],
    ...['tls', 'relay', 'reason', 'msg'],
  ]
  assert.deepEqual(Object.keys(clean(json)), common)
  assert.deepEqual(Object.keys(clean(text)), common.toSpliced(7, 0, 'endpoint'))
  const of = (lines: typeof json) => {
    const { direction, service, peer, bytes_to_upstream, bytes_to_downstream, tls, relay, reason, endpoint } =
      clean(lines)
    return { direction, service, peer, bytes_to_upstream, bytes_to_downstream, tls, relay, reason, endpoint }
  }
  const same = {
    service: 'db',
    bytes_to_upstream: 5,
    bytes_to_downstream: 5,
    tls: 'TLSv1.3',
    reason: 'closed',
  }
  assert.deepEqual(of(json), {
    ...same,
    relay: planeOf('dialed').relay,
    direction: 'inbound',
    peer: spiffeId('web'),
    endpoint: undefined,
  })
  assert.deepEqual(of(text), {
    ...same,
    relay: planeOf('dialing').relay,
    direction: 'outbound',
    peer: spiffeId('db'),
    endpoint: formatAddress(pair.dbPublic),
  })
  for (const key of ['policy_ms', 'connect_ms', 'handshake_ms', 'duration_ms'])
    for (const lines of [json, text]) assert.equal(typeof clean(lines)[key], 'number', key)
  const failed = json.find(({ reason }) => reason === 'local_app_unreachable')
  assert.equal(failed?.level, 'warn')
  assert.equal(failed?.detail, `${formatAddress(pair.app.address)}: ECONNREFUSED`)
})

describe('--access-log', { concurrency: 3 }, () => {
  const expected = { all: ['closed', 'local_app_unreachable'], errors: ['local_app_unreachable'], off: [] }
  for (const [choice, reasons] of Object.entries(expected)) {
    test(`${choice} writes ${reasons.length} of a clean and a failed session`, async t => {
      const pair = await startPair(t, { dbOptions: { args: ['--access-log', choice] } })
      await traffic(pair)
      await pair.db.eventually(
        async () => (await pair.db.json<object[]>('/sessions')).length === 0,
        'the end',
      )
      await pair.db.command.stop()
      const lines = pair.db.command.linesWith('session ended')
      assert.deepEqual(
        lines.map(line => fieldsOf(line).reason),
        reasons,
      )
    })
  }
})

describe('--log-level', { concurrency: 3 }, () => {
  for (const [level, present, absent] of [
    ['debug', ' DEBUG configuration unchanged', undefined],
    ['info', ' INFO  stopped', ' DEBUG '],
    ['warn', ' WARN  session ended', ' INFO '],
    ['error', undefined, ' WARN '],
  ] as const) {
    test(`${level} writes what is at least that serious`, async t => {
      const pair = await startPair(t)
      // With another change beside it: `info` alone is none.
      await pair.db.rewrite({ log_level: level, drain: 29 })
      await pair.db.eventually(
        async () => (await pair.db.json<{ generation: number }>('/state')).generation === 2,
        'the level to be taken up',
      )
      // Told by the level that was; standard output may come later than the admin API's answer.
      await pair.db.command.line('configuration changed')
      const from = pair.db.command.stdout.length
      // The same text anew: looked at, and found unchanged.
      await pair.db.rewrite({ log_level: level, drain: 29 })
      if (level === 'debug') await pair.db.command.line(' DEBUG configuration unchanged')
      await traffic(pair)
      await pair.db.eventually(
        async () => (await pair.db.json<object[]>('/sessions')).length === 0,
        'the end',
      )
      await pair.db.command.stop()
      const after = pair.db.command.stdout.slice(from)
      if (present !== undefined) assert.ok(after.includes(present), after)
      if (absent !== undefined) assert.ok(!after.includes(absent), after)
      if (level === 'error') assert.equal(after, '')
    })
  }
})

test('the last lines are never lost: a thousand sessions that a stop cuts all have theirs', async t => {
  const sessions = 1_000
  const pair = await startPair(t, { dbOptions: { args: ['--drain', '0', '--log-json'] } })
  const clients = Array.from({ length: sessions }, () => connect(t, pair.webUpstream))
  for (const client of clients) client.send('x')
  await pair.db.eventually(
    async () => (await pair.db.metric('sidesplice_bytes_to_upstream_total')) === sessions,
    'every session to be carried',
  )
  assert.deepEqual(await pair.db.command.stop(), { code: 0, signal: null })
  assert.equal(pair.db.command.linesWith('"reason":"shutdown"').length, sessions)
  const last = JSON.parse(pair.db.command.lines.at(-1) ?? '') as Record<string, unknown>
  assert.deepEqual([last.msg, last.sessions_cut], ['stopped', sessions])
})
