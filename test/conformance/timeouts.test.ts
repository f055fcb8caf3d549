// Sessions in which nothing moves end in time; sessions in which something moves do not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance, maybeClosed } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { openRig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const halfCloseTimeoutMs = 400
const idleTimeoutMs = 400

conformance('timeouts', plane => {
  for (const [which, options] of [
    ['dialing', { outbound: { halfCloseTimeoutMs } }],
    ['dialed', { inbound: { halfCloseTimeoutMs } }],
  ] as const) {
    test(`a session that is half-closed for ever ends (at the ${which} sidecar)`, async t => {
      const rig = await openRig(t, maybeClosed(plane), options)
      const { client, server } = await rig.connected()
      client.send('question')
      client.socket.end()
      const begun = performance.now()
      await server.ends()
      assert.equal(await client.fails(), 'ECONNRESET')
      const took = performance.now() - begun
      assert.ok(took >= halfCloseTimeoutMs * 0.9 && took < halfCloseTimeoutMs * 10, `after ${took} ms`)
      const record = await (which === 'dialing' ? rig.a : rig.b).record()
      assert.equal(record.reason, 'half_close_timeout')
    })
  }

  test('a session half-closed by its upstream ends too', async t => {
    const rig = await openRig(t, plane, {
      serve: ({ socket }) => socket.end('bye'),
      outbound: { halfCloseTimeoutMs },
    })
    const { client, server } = await rig.connected()
    await client.ends()
    assert.equal(await server.fails(), 'ECONNRESET')
    assert.equal((await rig.a.record()).reason, 'half_close_timeout')
  })

  test('a half-closed session lives while bytes move in the other direction', async t => {
    const rig = await openRig(t, maybeClosed(plane), {
      outbound: { halfCloseTimeoutMs },
      inbound: { halfCloseTimeoutMs },
    })
    const { client, server } = await rig.connected()
    client.socket.end()
    await server.ends()
    const begun = performance.now()
    let sent = ''
    while (performance.now() - begun < halfCloseTimeoutMs * 3) {
      const paused = performance.now()
      await until(() => performance.now() - paused > halfCloseTimeoutMs / 8, 'a while')
      server.send('x')
      sent += 'x'
      await client.gets(sent)
    }
    server.socket.end()
    await client.ends()
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).reason, 'closed')
  })

  test('a session that is open both ways is not half-closed', async t => {
    const rig = await openRig(t, plane, {
      serve: echo,
      outbound: { halfCloseTimeoutMs: 100 },
      inbound: { halfCloseTimeoutMs: 100 },
    })
    const { client } = await rig.connected()
    await client.echoes('hello')
    const begun = performance.now()
    await until(() => performance.now() - begun > 300, 'three times the limit')
    await client.echoes(' again')
  })

  for (const [which, options] of [
    ['dialing', { outbound: { idleTimeoutMs } }],
    ['dialed', { inbound: { idleTimeoutMs } }],
  ] as const) {
    test(`an idle session ends (at the ${which} sidecar)`, async t => {
      const rig = await openRig(t, plane, { serve: echo, ...options })
      const { client, server } = await rig.connected()
      await client.echoes('hello')
      const begun = performance.now()
      assert.equal(await client.fails(), 'ECONNRESET')
      const took = performance.now() - begun
      assert.ok(took >= idleTimeoutMs * 0.9 && took < idleTimeoutMs * 10, `after ${took} ms`)
      assert.equal(await server.fails(), 'ECONNRESET')
      assert.equal((await (which === 'dialing' ? rig.a : rig.b).record()).reason, 'idle_timeout')
    })
  }

  test('a session that says something now and then is not idle', async t => {
    const rig = await openRig(t, plane, {
      serve: echo,
      outbound: { idleTimeoutMs },
      inbound: { idleTimeoutMs },
    })
    const { client } = await rig.connected()
    const begun = performance.now()
    while (performance.now() - begun < idleTimeoutMs * 3) {
      const paused = performance.now()
      await until(() => performance.now() - paused > idleTimeoutMs / 8, 'a while')
      await client.echoes('x')
    }
    assert.equal(rig.a.plane.sessions().length, 1)
  })
})
