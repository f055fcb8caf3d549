// Two sidecars by their files carry the traffic of an app that knows nothing of them.
import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import { test } from 'node:test'
import { formatAddress, socketAddress } from '../../src/address.ts'
import { connect, echo, openApp, sendMany } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { issueLeaf, issueRoot, mesh, spiffeId } from '../support/pki.ts'
import { Folder, type RunningSidecar, startPair, startSidecar } from '../support/running-sidecar.ts'
import { planeOf } from '../support/sidecar-planes.ts'
import { tlsConnect } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'

const megabyte = 1024 * 1024

test('both sidecars stand on the data plane that this run is for', async t => {
  const { web, db } = await startPair(t)
  const of = async (sidecar: RunningSidecar) =>
    (await sidecar.json<{ data_plane: string }>('/state')).data_plane
  assert.deepEqual([await of(web), await of(db)], [planeOf('dialing').dataPlane, planeOf('dialed').dataPlane])
})

test('an app behind two sidecars gets every byte, both ways, and a clean end', async t => {
  const pair = await startPair(t)
  const client = pair.connect()
  const digest = await sendMany(client, 8 * megabyte)
  client.socket.end()
  await client.ends()
  assert.equal(client.received, 8 * megabyte)
  assert.equal(client.digest(), digest)
  for (const { command } of [pair.web, pair.db]) {
    const line = await command.line('session ended')
    assert.match(line, / INFO {2}session ended /)
    assert.match(line, / reason=closed$/)
    assert.match(line, new RegExp(` bytes_to_upstream=${8 * megabyte} bytes_to_downstream=${8 * megabyte} `))
  }
})

test('an app that knows unix sockets alone is reached, and reaches, by them; what was bound goes at the stop', async t => {
  const folder = await Folder.make(t)
  const socket = folder.file('db.sock')
  const app = await openApp(t, { path: folder.file('app.sock'), serve: echo })
  const dbPublic = await freePort()
  const db = await startSidecar(t, {
    service: 'db',
    inbound: {
      listen: formatAddress(dbPublic),
      local_service_address: formatAddress(app.address),
      allow: [spiffeId('web')],
    },
  })
  const web = await startSidecar(t, {
    service: 'web',
    upstreams: [
      {
        destination_name: 'db',
        local_bind_socket_path: socket,
        local_bind_socket_mode: '0660',
        endpoints: [formatAddress(dbPublic)],
        expect: [spiffeId('db')],
      },
    ],
  })
  assert.equal((await stat(socket)).mode & 0o777, 0o660)
  const client = connect(t, socketAddress(socket))
  const digest = await sendMany(client, megabyte)
  client.socket.end()
  await client.ends()
  assert.equal(client.digest(), digest)
  assert.match(await db.command.line('session ended'), / reason=closed$/)
  const state = await web.json<{ upstreams: { local_bind: string }[] }>('/state')
  assert.equal(state.upstreams[0]?.local_bind, `unix:${socket}`)
  assert.equal((await web.command.stop()).code, 0)
  await assert.rejects(stat(socket), { code: 'ENOENT' })
})

test('a peer that is not allowed is refused, and the app sees no connection', async t => {
  const pair = await startPair(t, { allow: [spiffeId('api')] })
  const client = pair.connect()
  client.send('hello')
  await client.isOver()
  assert.equal(client.received, 0)
  const refused = await pair.db.command.line('session ended')
  assert.match(refused, new RegExp(` peer=${spiffeId('web')} .*reason=denied detail="not in allow"$`))
  const seen = await pair.web.command.line('session ended')
  assert.match(seen, / reason=(denied_by_peer|connect_failed|upstream_reset)/)
  assert.equal(pair.app.connections.length, 0)
})

test('an empty allow list admits nobody', async t => {
  const pair = await startPair(t, { allow: [] })
  await pair.connect().isOver()
  assert.match(await pair.db.command.line('session ended'), / reason=denied /)
  assert.equal(pair.app.connections.length, 0)
})

test('* admits any one path segment', async t => {
  const pair = await startPair(t, { allow: ['spiffe://mesh.test/ns/default/dc/*/svc/*'] })
  await pair.connect().echoes('hello')
})

test('* admits one segment, not several', async t => {
  const pair = await startPair(t, { allow: ['spiffe://mesh.test/ns/default/*'] })
  await pair.connect().isOver()
  assert.match(await pair.db.command.line('session ended'), / reason=denied /)
  assert.equal(pair.app.connections.length, 0)
})

test('an endpoint that proves another identity than the expected one gets no byte', async t => {
  const pair = await startPair(t, {
    web: {
      upstreams: [],
    },
  })
  await pair.web.rewrite({
    upstreams: [
      {
        destination_name: 'db',
        local_bind_port: pair.webUpstream.port,
        endpoints: [formatAddress(pair.dbPublic)],
        expect: [spiffeId('orders')],
      },
    ],
  })
  await pair.web.applied(2)
  const client = pair.connect()
  client.send('secret')
  await client.isOver()
  assert.match(await pair.web.command.line('session ended'), /identity_mismatch.* reason=connect_failed/)
  assert.equal(pair.app.connections.length, 0)
})

test('a peer of a foreign CA is refused, and the app sees no connection', async t => {
  const pair = await startPair(t)
  const foreign = await issueRoot('foreign')
  const peer = tlsConnect(t, pair.dbPublic, { certificate: await issueLeaf('web', foreign), root: mesh.root })
  await peer.isOver()
  assert.match(await pair.db.command.line('session ended'), / reason=peer_certificate_refused/)
  assert.equal(pair.app.connections.length, 0)
})

test('an app that speaks first is heard', async t => {
  const pair = await startPair(t, { serve: ({ socket }) => socket.write('220 ready\n') })
  await pair.connect().gets('220 ready\n')
})

test('an app that is down is named as such at both ends', async t => {
  const pair = await startPair(t)
  pair.app.close()
  await until(() => !pair.app.server.listening, 'the app to be gone')
  await pair.connect().isOver()
  assert.match(
    await pair.db.command.line('session ended'),
    new RegExp(` reason=local_app_unreachable detail="${formatAddress(pair.app.address)}: ECONNREFUSED"$`),
  )
  assert.match(await pair.web.command.line('session ended'), / reason=(peer_app_unreachable|connect_failed)/)
})
