// SIGTERM and SIGINT: peers are turned away first, the app is served while a session lives, a limit ends the rest, exit 0.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { connect } from '../support/ends.ts'
import { mesh } from '../support/pki.ts'
import { startPair } from '../support/running-sidecar.ts'
import { tlsConnect } from '../support/tls-peers.ts'

describe('stopping', { concurrency: 2 }, () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    test(`${signal} without a session: exit 0 at once, nothing on standard error`, async t => {
      const pair = await startPair(t)
      assert.deepEqual(await pair.db.command.stop(signal), { code: 0, signal: null })
      assert.match(await pair.db.command.line(' stopping '), new RegExp(` signal=${signal} sessions=0 `))
      assert.match(pair.db.command.lines.at(-1) ?? '', / stopped sessions_cut=0 by_second_signal=false$/)
      assert.equal(pair.db.command.stderr, '')
      assert.equal(await connect(t, pair.dbPublic).fails(), 'ECONNREFUSED')
    })

    test(`${signal} lets a live session finish within --drain, with the public listener closed`, async t => {
      const pair = await startPair(t)
      const session = pair.connect()
      await session.echoes('one')
      pair.db.command.signal(signal)
      await pair.db.command.line(' stopping ')
      assert.equal((await pair.db.get('/ready')).status, 503)
      assert.match((await pair.db.get('/ready')).body, /- stopping\n/)
      assert.equal((await pair.db.get('/live')).status, 200)
      await pair.db.eventually(async () => {
        const late = connect(t, pair.dbPublic)
        await late.isOver()
        return late.error === 'ECONNREFUSED'
      }, 'the public port to be closed')
      await session.echoes(' two')
      assert.equal(pair.db.command.ended, undefined)
      session.socket.end()
      await session.ends()
      assert.deepEqual(await pair.db.command.end(), { code: 0, signal: null })
      assert.match(await pair.db.command.line('session ended'), / reason=closed$/)
      assert.match(await pair.db.command.line(' stopped '), / sessions_cut=0 /)
    })
  }

  test('--drain 0 cuts', async t => {
    const pair = await startPair(t, { dbOptions: { args: ['--drain', '0'] } })
    const session = pair.connect()
    await session.echoes('one')
    assert.deepEqual(await pair.db.command.stop(), { code: 0, signal: null })
    await session.fails()
    assert.match(await pair.db.command.line('session ended'), / reason=shutdown$/)
    assert.match(await pair.db.command.line(' stopped '), / sessions_cut=1 by_second_signal=false$/)
  })

  test('--drain is the limit: what lives longer is cut', async t => {
    const pair = await startPair(t, { dbOptions: { args: ['--drain', '0.5'] } })
    const session = pair.connect()
    await session.echoes('one')
    const { code } = await pair.db.command.stop()
    assert.equal(code, 0)
    await session.fails()
    assert.match(await pair.db.command.line(' stopped '), / sessions_cut=1 by_second_signal=false$/)
  })

  test('--drain-delay keeps the public listener open while /ready fails', async t => {
    const pair = await startPair(t, { dbOptions: { args: ['--drain-delay', '1.5'] } })
    pair.db.command.signal('SIGTERM')
    await pair.db.command.line(' stopping ')
    const before = performance.now()
    assert.equal((await pair.db.get('/ready')).status, 503)
    const late = tlsConnect(t, pair.dbPublic, { certificate: mesh.web, root: mesh.root })
    await late.echoes('late, and served')
    late.socket.end()
    await late.ends()
    assert.deepEqual(await pair.db.command.end(), { code: 0, signal: null })
    assert.ok(performance.now() - before > 1_000, 'it ended before the delay was over')
    assert.equal(await connect(t, pair.dbPublic).fails(), 'ECONNREFUSED')
  })

  test('an upstream listener serves the app as long as a session lives', async t => {
    const pair = await startPair(t)
    const session = pair.connect()
    await session.echoes('one')
    pair.web.command.signal('SIGTERM')
    await pair.web.command.line(' stopping ')
    const late = pair.connect()
    await late.echoes('late, and served')
    session.socket.end()
    await session.ends()
    await late.echoes(', and on')
    late.socket.end()
    await late.ends()
    assert.deepEqual(await pair.web.command.end(), { code: 0, signal: null })
    assert.equal(await pair.connect().fails(), 'ECONNREFUSED')
  })

  for (const [first, second] of [
    ['SIGTERM', 'SIGTERM'],
    ['SIGTERM', 'SIGINT'],
    ['SIGINT', 'SIGTERM'],
  ] as const) {
    test(`${second} after ${first} cuts`, async t => {
      const pair = await startPair(t)
      const session = pair.connect()
      await session.echoes('one')
      pair.db.command.signal(first)
      await pair.db.command.line(' stopping ')
      assert.deepEqual(await pair.db.command.stop(second), { code: 0, signal: null })
      await session.fails()
      assert.match(await pair.db.command.line(' stopped '), / sessions_cut=1 by_second_signal=true$/)
    })
  }

  test('a second signal within --drain-delay ends that too', async t => {
    const pair = await startPair(t, { dbOptions: { args: ['--drain-delay', '600'] } })
    const session = pair.connect()
    await session.echoes('one')
    pair.db.command.signal('SIGTERM')
    await pair.db.command.line(' stopping ')
    assert.deepEqual(await pair.db.command.stop('SIGTERM'), { code: 0, signal: null })
    assert.match(await pair.db.command.line(' stopped '), / sessions_cut=1 by_second_signal=true$/)
  })

  test('a changed drain holds without a restart', async t => {
    const pair = await startPair(t)
    const session = pair.connect()
    await session.echoes('one')
    await pair.db.rewrite({ drain: 0 })
    await pair.db.applied(2)
    assert.deepEqual(await pair.db.command.stop(), { code: 0, signal: null })
    assert.match(await pair.db.command.line(' stopped '), / sessions_cut=1 /)
  })
})
