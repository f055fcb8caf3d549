// The listeners are made equal to a set, each by itself: sessions live on, a bind that fails is reported and tried again.
import assert from 'node:assert/strict'
import net from 'node:net'
import { test } from 'node:test'
import type { Address } from '../../src/address.ts'
import { conformance } from '../support/data-planes.ts'
import { connect, echo, freeAddress, openApp } from '../support/ends.ts'
import { mesh } from '../support/pki.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { listener, Sidecar } from '../support/sidecar.ts'
import { until } from '../support/until.ts'

conformance('listeners', plane => {
  const outbound = (key: string, bind: Address) => listener({ direction: 'outbound', key, name: key, bind })

  /** Whether something accepts at the address. */
  function isOpen(address: Address): Promise<boolean> {
    return new Promise(resolve => {
      const socket = net.connect(address)
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
  }

  test('a listener that is added listens, and the others keep their sockets', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client } = await rig.connected()
    await client.echoes('before')
    const reports = await rig.a.listen(
      outbound('db', { host: '127.0.0.1', port: 0 }),
      outbound('more', { host: '127.0.0.1', port: 0 }),
    )
    const at = (key: string) => reports.find(report => report.key === key)
    assert.deepEqual(at('db')?.bind, rig.address)
    assert.equal(at('more')?.error, undefined)
    const more = at('more')?.bind
    assert.ok(more !== undefined)
    await connect(t, more).echoes('through the new one')
    await client.echoes(' and after')
    assert.deepEqual([...rig.a.plane.counters().listeners.keys()].sort(), ['db', 'more'])
    assert.equal(rig.a.routeQuestions.at(-1)?.listener, 'more')
  })

  test('a listener that is removed refuses, and its sessions live on', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client } = await rig.connected()
    await client.echoes('before')
    assert.deepEqual(await rig.a.listen(), [])
    await until(
      () => rig.a.plane.counters().listeners.get('db')?.listening === false,
      'the listener to close',
    )
    await connect(t, rig.address).fails()
    await client.echoes(' and after')
    assert.equal(rig.a.plane.counters().listeners.get('db')?.open, 1)
    client.socket.end()
    assert.equal((await rig.a.record()).reason, 'closed')
    await rig.a.isQuiet()
    assert.equal(rig.a.plane.counters().listeners.has('db'), false)
  })

  test('a changed bind address opens the new socket and closes the old', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client } = await rig.connected()
    await client.echoes('before')
    const next = await freeAddress()
    const [report] = await rig.a.listen(outbound('db', next))
    assert.deepEqual(report?.bind, next)
    await connect(t, next).echoes('at the new one')
    await connect(t, rig.address).fails()
    await client.echoes(' and after')
  })

  test('the old socket stays where the new address can not be had, until it can', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const taken = await openApp(t)
    const [report] = await rig.a.listen(outbound('db', taken.address))
    assert.equal(report?.error, 'EADDRINUSE')
    await connect(t, rig.address).echoes('at the old one')
    assert.equal(rig.a.plane.counters().listeners.get('db')?.listening, true)
    taken.close()
    const up = await until(() => rig.a.listenerReports.find(({ error }) => error === undefined), 'the report')
    assert.deepEqual(up.bind, taken.address)
    await connect(t, taken.address).echoes('at the new one')
    assert.equal(await isOpen(rig.address), false)
  })

  test('a bind failure is reported by its code, alone, and tried again', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const taken = await openApp(t)
    const good = await freeAddress()
    const reports = await rig.a.listen(outbound('bad', taken.address), outbound('good', good))
    assert.deepEqual(reports.map(({ key, error }) => [key, error]).sort(), [
      ['bad', 'EADDRINUSE'],
      ['good', undefined],
    ])
    await connect(t, good).echoes('good')
    assert.equal(rig.a.plane.counters().listeners.get('bad')?.listening, false)
    taken.close()
    const up = await until(() => rig.a.listenerReports[0], 'the report')
    assert.deepEqual([up.key, up.error, up.direction], ['bad', undefined, 'outbound'])
    await connect(t, taken.address).echoes('up now')
  })

  test('an address that is not of this machine is reported by its code', async t => {
    const rig = await openRig(t, plane)
    // TEST-NET-1, RFC 5737.
    const [report] = await rig.a.listen(outbound('db', { host: '192.0.2.1', port: 15_001 }))
    assert.equal(report?.error, 'EADDRNOTAVAIL')
  })

  test('a listener that failed and is wanted no more is not tried again', async t => {
    const rig = await openRig(t, plane)
    const taken = await openApp(t)
    await rig.a.listen(outbound('db', taken.address))
    await rig.a.listen()
    taken.close()
    const [report] = await rig.a.listen(outbound('other', taken.address))
    assert.equal(report?.error, undefined)
    assert.deepEqual(rig.a.listenerReports, [])
  })

  test('two listeners swap their addresses', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const [x, y] = [await freeAddress(), await freeAddress()]
    await rig.a.listen(outbound('one', x), outbound('two', y))
    const client = connect(t, x)
    await client.echoes('before')
    const reports = await rig.a.listen(outbound('one', y), outbound('two', x))
    assert.deepEqual(Object.fromEntries(reports.map(({ key, bind, error }) => [key, error ?? bind])), {
      one: y,
      two: x,
    })
    await connect(t, y).echoes('one')
    assert.equal(rig.a.routeQuestions.at(-1)?.listener, 'one')
    await connect(t, x).echoes('two')
    assert.equal(rig.a.routeQuestions.at(-1)?.listener, 'two')
    await client.echoes(' and after')
  })

  test('a listener moves from one address of a port to all of them', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const narrow = await freeAddress()
    await rig.a.listen(outbound('db', narrow))
    const client = connect(t, narrow)
    await client.echoes('before')
    const [report] = await rig.a.listen(outbound('db', { host: '0.0.0.0', port: narrow.port }))
    assert.equal(report?.error, undefined)
    assert.equal(report?.bind.host, '0.0.0.0')
    await connect(t, { host: '127.0.0.2', port: narrow.port }).echoes('by another address')
    await client.echoes(' and after')
  })

  test('settings of a listener whose address stays hold from the next connection on', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    await rig.a.listen({ ...outbound('db', { host: '127.0.0.1', port: 0 }), idleTimeoutMs: 200 })
    const client = connect(t, rig.address)
    await client.echoes('hello')
    assert.equal(await client.fails(), 'ECONNRESET')
    assert.equal((await rig.a.record()).reason, 'idle_timeout')
    assert.equal(rig.a.plane.counters().listeners.get('db')?.listening, true)
  })

  test('a connection to a listener with no identity yet is an error, and works once there is one', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const fresh = new Sidecar(t, plane)
    fresh.routes([endpoint(rig.publicAddress)])
    const address = await fresh.listenAt({ direction: 'outbound' })
    await connect(t, address).fails()
    fresh.setIdentity(mesh.web, mesh.root)
    await connect(t, address).echoes('hello')
  })
})
