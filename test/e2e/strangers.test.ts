// Connections that prove nothing: they keep neither the local app from its upstreams, nor a probe from its answer.
import assert from 'node:assert/strict'
import net, { type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import { openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { startPair, startSidecar } from '../support/running-sidecar.ts'
import { ownPlane } from '../support/sidecar-planes.ts'

/** Connections that stay open and say nothing. */
async function silent(t: TestContext, address: Address, count: number): Promise<readonly Socket[]> {
  const sockets = Array.from({ length: count }, () => net.connect(address).on('error', () => {}))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  await Promise.all(
    sockets.map(socket => new Promise(resolve => socket.once('connect', resolve).once('close', resolve))),
  )
  return sockets
}

for (const plane of ['native', 'javascript'] as const) {
  test(`silent connections to the public port leave the upstreams of the local app their descriptors (${plane})`, async t => {
    const limited = { env: ownPlane, node: 'prlimit', nodeArgs: ['--nofile=256:256', process.execPath] }
    const webPublic = await freePort()
    const webApp = await openApp(t)
    const pair = await startPair(t, {
      web: {
        data_plane: plane,
        inbound: {
          listen: formatAddress(webPublic),
          local_service_address: formatAddress(webApp.address),
          allow: [],
        },
      },
      webOptions: limited,
    })
    await silent(t, webPublic, 200)
    const taken = () =>
      pair.web.metric('sidesplice_connections_accepted_total', { direction: 'inbound', service: 'web' })
    // What is too many is closed and named by the one, left in the kernel's backlog by the other.
    if (plane === 'javascript') await pair.web.command.line('descriptors_exhausted')
    else await pair.web.eventually(async () => (await taken()) > 20, 'as many as there is room for')
    for (let round = 0; round < 10; round++) await pair.connect().echoes('hello')
    assert.equal(webApp.connections.length, 0)
  })
}

test('idle connections to the admin listener do not keep a probe from its answer', async t => {
  const sidecar = await startSidecar(t, { upstreams: [] })
  await silent(t, sidecar.admin, 200)
  assert.equal((await sidecar.get('/live')).status, 200)
  assert.equal((await sidecar.get('/ready')).status, 200)
})
