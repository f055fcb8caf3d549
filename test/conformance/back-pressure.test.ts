// A slow reader slows its sender down, in bounded memory, and still gets every byte.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { sendMany } from '../support/ends.ts'
import { openRig } from '../support/rig.ts'
import { settled, until } from '../support/until.ts'

const megabyte = 1024 * 1024
const sent = 128 * megabyte
// What the kernel's buffers of three hops may hold at most (tcp_wmem and tcp_rmem, 4 and 6 MiB by default), and some.
const inFlight = 48 * megabyte
const ownMemory = 32 * megabyte

conformance('back-pressure', plane => {
  for (const direction of ['upstream', 'downstream'] as const) {
    test(`a reader that pauses stalls its sender towards ${direction}, and gets everything in the end`, async t => {
      const rig = await openRig(t, plane)
      const { client, server } = await rig.connected()
      const [sender, reader] = direction === 'upstream' ? [client, server] : [server, client]
      reader.socket.pause()
      const before = process.memoryUsage()
      const sending = sendMany(sender, sent)
      const moved = () => {
        const [session] = [...rig.a.plane.sessions(), ...rig.b.plane.sessions()]
        return Math.max(session?.bytesToUpstream ?? 0, session?.bytesToDownstream ?? 0)
      }
      await until(() => moved() > 0, 'the first byte')
      const stalledAt = await settled(moved, 'the session')
      assert.ok(stalledAt < inFlight, `${stalledAt} bytes were taken`)
      const now = process.memoryUsage()
      assert.ok(
        now.external - before.external < ownMemory,
        `${now.external - before.external} bytes more outside the heap`,
      )
      reader.socket.resume()
      const digest = await sending
      sender.socket.end()
      await reader.ends()
      assert.equal(reader.received, sent)
      assert.equal(reader.digest(), digest)
    })
  }

  test('one direction that stalls does not stall the other', async t => {
    const rig = await openRig(t, plane)
    const { client, server } = await rig.connected()
    server.socket.pause()
    void sendMany(client, sent)
    await settled(() => rig.a.plane.sessions()[0]?.bytesToUpstream ?? 0, 'the upload')
    await sendMany(server, 8 * megabyte)
    await until(() => client.received === 8 * megabyte, 'the download')
  })
})
