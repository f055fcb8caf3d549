// Connections that are closed without a byte, as health checks and connection pools make them.
import assert from 'node:assert/strict'
import net from 'node:net'
import { test } from 'node:test'
import type { Address } from '../../src/address.ts'
import { startChain } from '../support/apps.ts'
import { connect, openApp } from '../support/ends.ts'

const rounds = 5
// As many as have their tickets and their end in one read on the way back.
const atATime = 40

test('connections closed without a byte end cleanly, are counted, not logged, and are no mark against the endpoint', async t => {
  const app = await openApp(t, { serve: ({ socket }) => socket.on('end', () => socket.end()) })
  const { web, upstream, end } = await startChain(t, app.address)
  for (let round = 0; round < rounds; round++)
    await Promise.all(Array.from({ length: atATime }, () => openAndClose(upstream)))
  const ended = (reason: string) => web.metric('sidesplice_sessions_ended_total', { reason })
  await web.eventually(
    async () => (await ended('closed_before_first_byte')) === rounds * atATime,
    'all of them to be counted',
  )
  assert.equal(await web.metric('sidesplice_endpoint_failures_total'), 0)
  assert.equal(await web.metric('sidesplice_endpoint_passed_over'), 0)
  const records = await end()
  assert.deepEqual([...records.web, ...records.db], [])
})

test('a connection to an endpoint that nothing listens on is reset, logged, and a mark against the endpoint', async t => {
  const app = await openApp(t)
  const { web, db, upstream, end } = await startChain(t, app.address)
  await db.command.stop()
  await connect(t, upstream).fails()
  assert.equal(await web.metric('sidesplice_endpoint_failures_total'), 1)
  const records = await end()
  assert.deepEqual(
    records.web.map(({ reason }) => reason),
    ['connect_failed'],
  )
})

/** Rejects where the other side's end is not a clean one. */
function openAndClose(address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(address, () => socket.end())
    let ended = false
    socket.resume()
    socket.once('end', () => {
      ended = true
    })
    socket.once('error', reject)
    socket.once('close', () => (ended ? resolve() : reject(new Error('closed without an end'))))
  })
}
