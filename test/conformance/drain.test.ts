// Leaving: nothing new from peers, what was queued is served, the local app is served while any session lives, then the rest
// is cut; and close, which waits for nothing and forgets no record.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { connect, echo } from '../support/ends.ts'
import { mesh } from '../support/pki.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { listener } from '../support/sidecar.ts'
import { until } from '../support/until.ts'

const graceMs = 10_000

conformance('drain and close', plane => {
  test('with nothing alive it is done at once', async t => {
    const rig = await openRig(t, plane)
    const begun = performance.now()
    assert.deepEqual(await rig.b.plane.drain({ graceMs }), { cut: 0 })
    assert.ok(performance.now() - begun < graceMs / 2)
  })

  test('the public listener closes, sessions go on, and it is done with the last of them', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client } = await rig.connected()
    await client.echoes('before')
    let done = false
    const drained = rig.b.plane.drain({ graceMs }).finally(() => {
      done = true
    })
    await until(
      () => rig.b.plane.counters().listeners.get('public')?.listening === false,
      'the listener to close',
    )
    await connect(t, rig.publicAddress).fails()
    await client.echoes(' and after')
    assert.equal(done, false)
    client.socket.end()
    assert.deepEqual(await drained, { cut: 0 })
    assert.equal((await rig.b.record()).reason, 'closed')
  })

  test('a change of listeners while it drains opens no public listener', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client } = await rig.connected()
    await client.echoes('before')
    const drained = rig.b.plane.drain({ graceMs })
    await until(
      () => rig.b.plane.counters().listeners.get('public')?.listening === false,
      'the listener to close',
    )
    const specs = [listener({ direction: 'inbound', bind: rig.publicAddress })]
    assert.deepEqual(await rig.b.plane.setListeners({ generation: ++rig.b.generation, listeners: specs }), [])
    await connect(t, rig.publicAddress).fails()
    await client.echoes(' and after')
    client.socket.end()
    assert.deepEqual(await drained, { cut: 0 })
  })

  test('connections that the kernel has queued are served', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client } = await rig.connected()
    await client.echoes('first')
    // Their SYNs are answered by the kernel as soon as connect(2) is called, in the next tick; nothing has accepted by then.
    const queued = Array.from({ length: 5 }, () => connect(t, rig.publicAddress))
    let drained = Promise.resolve({ cut: -1 })
    await new Promise<void>(resolve => {
      process.nextTick(() => {
        process.nextTick(() => {
          drained = rig.b.plane.drain({ graceMs: 300 })
          resolve()
        })
      })
    })
    await until(
      () => rig.b.plane.counters().listeners.get('public')?.accepted === 6,
      'the queued to be accepted',
    )
    for (const peer of queued) assert.equal(peer.error, undefined)
    assert.deepEqual(await drained, { cut: 6 })
  })

  test('an upstream listener serves on while a session lives', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    rig.a.admits(rig.app.address)
    const both = await rig.a.listen(
      listener({ direction: 'outbound', bind: { host: '127.0.0.1', port: 0 } }),
      listener({ direction: 'inbound' }),
    )
    const publicAddress = both.find(({ direction }) => direction === 'inbound')?.bind
    assert.ok(publicAddress !== undefined)
    const client = rig.connect()
    await client.echoes('one')
    const drained = rig.a.plane.drain({ graceMs })
    await until(
      () => rig.a.plane.counters().listeners.get('public')?.listening === false,
      'the public listener to close',
    )
    await connect(t, publicAddress).fails()
    const next = rig.connect()
    await next.echoes('two')
    client.socket.end()
    await client.ends()
    await rig.connect().echoes('three')
    next.socket.end()
    for (const session of rig.a.plane.sessions()) rig.a.plane.terminate([session.id], 'shutdown')
    assert.deepEqual(await drained, { cut: 0 })
    await connect(t, rig.address).fails()
  })

  test('what is left when the grace period ends is cut and counted', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const clients = [rig.connect(), rig.connect(), rig.connect()]
    for (const client of clients) await client.echoes('hello')
    const begun = performance.now()
    assert.deepEqual(await rig.b.plane.drain({ graceMs: 300 }), { cut: 3 })
    assert.ok(performance.now() - begun >= 250)
    for (const client of clients) assert.equal(await client.fails(), 'ECONNRESET')
    for (const _ of clients) assert.equal((await rig.b.record()).reason, 'shutdown')
  })

  test('no grace period cuts at once', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client, server } = await rig.connected()
    await client.echoes('hello')
    assert.deepEqual(await rig.a.plane.drain({ graceMs: 0 }), { cut: 1 })
    assert.equal(await client.fails(), 'ECONNRESET')
    assert.equal(await server.fails(), 'ECONNRESET')
  })

  test('an abort signal ends the grace period', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client } = await rig.connected()
    await client.echoes('hello')
    const stop = new AbortController()
    const drained = rig.b.plane.drain({ graceMs, signal: stop.signal })
    await until(
      () => rig.b.plane.counters().listeners.get('public')?.listening === false,
      'the listener to close',
    )
    stop.abort()
    assert.deepEqual(await drained, { cut: 1 })
    await client.fails()
  })

  test('close ends every session, in whatever state, and delivers every record before it resolves', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const relaying = [rig.connect(), rig.connect()]
    for (const client of relaying) await client.echoes('hello')
    rig.a.route = () => {}
    const deciding = rig.connect()
    await rig.a.session('deciding')
    const handshaking = connect(t, rig.publicAddress)
    await rig.b.session('handshaking')
    await Promise.all([rig.a.plane.close(), rig.b.plane.close()])
    assert.equal(rig.a.records.length, 3)
    assert.equal(rig.b.records.length, 3)
    assert.deepEqual(rig.a.plane.sessions(), [])
    assert.deepEqual(rig.b.plane.sessions(), [])
    assert.ok(rig.a.records.every(({ reason }) => reason === 'shutdown'))
    for (const client of [...relaying, deciding]) assert.equal(await client.fails(), 'ECONNRESET')
    await handshaking.isOver()
    await connect(t, rig.address).fails()
    await connect(t, rig.publicAddress).fails()
  })

  test('what is set behind close is nothing, and harms nothing', async t => {
    const rig = await openRig(t, plane)
    await rig.a.plane.close()
    rig.a.setIdentity(mesh.web, mesh.root)
    assert.deepEqual(await rig.a.listen(listener({ direction: 'outbound' })), [])
    assert.deepEqual(rig.a.plane.sessions(), [])
    assert.equal(rig.a.plane.terminate([1], 'shutdown'), 0)
    assert.deepEqual(await rig.a.plane.drain({ graceMs: 10 }), { cut: 0 })
    assert.equal(rig.a.plane.counters().listeners.get('db')?.open, 0)
  })

  test('close may be called twice, and behind a drain', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    rig.a.routes([endpoint(rig.publicAddress)])
    await rig.connect().echoes('hello')
    await rig.a.plane.drain({ graceMs: 0 })
    await rig.a.plane.close()
    await rig.a.plane.close()
    assert.equal(rig.a.records.length, 1)
  })
})
