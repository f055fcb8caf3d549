// An abort on one leg arrives as an error at the other end of the path, never as a clean end, whoever aborts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance, maybeClosed, native } from '../support/data-planes.ts'
import { type End, sendMany } from '../support/ends.ts'
import { openMiddle } from '../support/middle.ts'
import { endpoint, openRig, type Rig } from '../support/rig.ts'
import { settled, until } from '../support/until.ts'

const megabyte = 1024 * 1024
// Past the patience of a test: a time limit does not end what an abort has to.
const patient = { halfCloseTimeoutMs: 60_000 }

conformance('abort', plane => {
  const answering = ({ socket }: End) => socket.once('data', () => socket.write('answer'))

  async function live(rig: Rig) {
    const { client, server } = await rig.connected()
    client.send('question')
    await client.gets('answer')
    return { client, server }
  }

  test('a reset by the downstream app reaches the upstream app as an error', async t => {
    const rig = await openRig(t, plane, { serve: answering })
    const { client, server } = await live(rig)
    client.reset()
    assert.equal(await server.fails(), 'ECONNRESET')
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).reason, 'downstream_reset')
  })

  test('a reset by the upstream app reaches the downstream app as an error', async t => {
    const rig = await openRig(t, plane, { serve: answering })
    const { client, server } = await live(rig)
    server.reset()
    assert.equal(await client.fails(), 'ECONNRESET')
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).reason, 'upstream_reset')
  })

  test('a reset after the other direction has closed is an error still', async t => {
    const rig = await openRig(t, plane, { serve: answering })
    const { client, server } = await live(rig)
    client.socket.end()
    await server.ends()
    server.send('and more')
    await client.gets('answerand more')
    server.reset()
    assert.equal(await client.fails(), 'ECONNRESET')
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).reason, 'upstream_reset')
  })

  test('a close by both apps instead of a reset is clean at both', async t => {
    const rig = await openRig(t, plane, { serve: answering })
    const { client, server } = await live(rig)
    client.socket.end()
    server.socket.end()
    await client.ends()
    await server.ends()
    for (const sidecar of [rig.a, rig.b]) assert.equal((await sidecar.record()).reason, 'closed')
  })

  test('a reset of the connection between the sidecars is an error at both apps', async t => {
    const rig = await openRig(t, plane, { serve: answering })
    const middle = await openMiddle(t, rig.publicAddress)
    rig.a.routes([endpoint(middle.address)])
    const { client, server } = await live(rig)
    middle.cut(middle.crossings[0], 'rst')
    assert.equal(await client.fails(), 'ECONNRESET')
    assert.equal(await server.fails(), 'ECONNRESET')
    assert.equal((await rig.a.record()).reason, 'upstream_reset')
    assert.equal((await rig.b.record()).reason, 'downstream_reset')
  })

  for (const direction of ['upstream', 'downstream'] as const) {
    test(`a reset behind 4 MB towards ${direction} is no clean end for a slow reader`, async t => {
      const rig = await openRig(t, plane)
      const { client, server } = await rig.connected()
      const [sender, reader] = direction === 'upstream' ? [client, server] : [server, client]
      const [near, far] = direction === 'upstream' ? [rig.a, rig.b] : [rig.b, rig.a]
      reader.socket.pause()
      await sendMany(sender, 4 * megabyte)
      // The sidecar beside the sender has all of it: the kernel's queue of an aborting app is the app's own to lose.
      const taken = () => count(near.plane.sessions()[0], direction)
      await settled(taken, 'what the first sidecar has taken')
      sender.reset()
      await until(() => near.plane.sessions().length === 0, 'the session to end')
      reader.socket.resume()
      await reader.fails()
      if (far.plane.capabilities.sendQueue) assert.equal(reader.received, 4 * megabyte)
      else assert.ok(reader.received <= 4 * megabyte)
    })
  }
})

// Node does not look at a connection whose end it has read: there a reset is seen when something is written.
native('abort behind a half-close', plane => {
  for (const direction of ['downstream', 'upstream'] as const) {
    test(`a reset by the ${direction} app, behind its own close, ends the session at the other sidecar`, async t => {
      const rig = await openRig(t, maybeClosed(plane), { outbound: patient, inbound: patient })
      const { client, server } = await rig.connected()
      const [closing, other] = direction === 'downstream' ? [client, server] : [server, client]
      const [near, far] = direction === 'downstream' ? [rig.a, rig.b] : [rig.b, rig.a]
      closing.send('word')
      closing.socket.end()
      await other.ends()
      other.send('answer')
      await closing.gets('answer')
      closing.reset()
      assert.equal((await near.record()).reason, `${direction}_reset`)
      // The other app is silent: no word of its own makes this session end.
      assert.equal((await far.record()).reason, `${direction}_reset`)
      await until(() => {
        other.send('more')
        return other.error
      }, 'the error')
    })
  }
})

function count(
  session: { readonly bytesToUpstream: number; readonly bytesToDownstream: number } | undefined,
  to: string,
): number {
  if (session === undefined) return 0
  return to === 'upstream' ? session.bytesToUpstream : session.bytesToDownstream
}
