// Upstreams and listeners are added, changed and removed while everything else goes on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import { connect, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { spiffeId } from '../support/pki.ts'
import { startPair, upstreamTo } from '../support/running-sidecar.ts'
import { ownPlane } from '../support/sidecar-planes.ts'

test('an upstream that is added is served, one that is removed is not, and sessions of both live on', async t => {
  const pair = await startPair(t)
  const added = await freePort()
  const first = upstreamTo(pair.dbPublic, pair.webUpstream)
  const second = upstreamTo(pair.dbPublic, added, 'orders')
  const old = pair.connect()
  await old.echoes('one')

  await pair.web.rewrite({ upstreams: [first, second] })
  await pair.web.applied(2)
  const young = connect(t, added)
  await young.echoes('two')
  await old.echoes(' and one more')

  await pair.web.rewrite({ upstreams: [second] })
  await pair.web.applied(3)
  const line = await pair.web.command.line('stopped listening')
  assert.match(line, new RegExp(` service=db address=${formatAddress(pair.webUpstream)}$`))
  assert.equal(await pair.connect().fails(), 'ECONNREFUSED')
  await old.echoes(' still')
  await young.echoes(' too')
  await connect(t, added).echoes('three')
  old.socket.end()
  await old.ends()
  assert.match(await pair.web.command.line('session ended'), / service=db .* reason=closed$/)
  assert.equal((await pair.web.get('/ready')).status, 200)
})

test('an upstream that moves is reached at its new port alone, and its sessions live on', async t => {
  const pair = await startPair(t)
  const session = pair.connect()
  await session.echoes('one')
  const moved = await freePort()
  await pair.web.rewrite({ upstreams: [upstreamTo(pair.dbPublic, moved)] })
  await pair.web.applied(2)
  await connect(t, moved).echoes('two')
  assert.equal(await pair.connect().fails(), 'ECONNREFUSED')
  await session.echoes(' still')
})

test('changed endpoints hold for the next connection, live ones stay where they are', async t => {
  const pair = await startPair(t)
  const session = pair.connect()
  await session.echoes('one')
  const nowhere = await freePort()
  await pair.web.rewrite({ upstreams: [upstreamTo(nowhere, pair.webUpstream)] })
  await pair.web.applied(2)
  await pair.connect().isOver()
  assert.match(
    await pair.web.command.line('session ended'),
    new RegExp(`${formatAddress(nowhere)} connect_failed \\(ECONNREFUSED\\).* reason=connect_failed`),
  )
  await session.echoes(' still')
})

test('a local service that moves gets the next connection, live ones stay where they are', async t => {
  const pair = await startPair(t)
  const session = pair.connect()
  await session.echoes('one')
  const next = await openApp(t, { serve: ({ socket }) => socket.write('another app') })
  await pair.db.rewrite({
    inbound: {
      listen: formatAddress(pair.dbPublic),
      local_service_address: formatAddress(next.address),
      allow: [spiffeId('web')],
    },
  })
  await pair.db.applied(2)
  await pair.connect().gets('another app')
  await session.echoes(' still')
  assert.equal(pair.app.connections.length, 1)
})

test('inbound may be removed and come back; its sessions live on', async t => {
  const pair = await startPair(t)
  const session = pair.connect()
  await session.echoes('one')
  const { inbound, ...without } = pair.db.config
  assert.ok(inbound !== undefined)
  await pair.db.folder.writeConfig(without)
  await pair.db.applied(2)
  assert.equal(await connect(t, pair.dbPublic).fails(), 'ECONNREFUSED')
  await session.echoes(' still')
  await pair.db.rewrite({})
  await pair.db.applied(3)
  await pair.connect().echoes('back')
})

test('two upstreams may swap their ports', async t => {
  const pair = await startPair(t, { serve: ({ socket }) => socket.end('db') })
  const other = await freePort()
  const nowhere = await freePort()
  const good = (port: number) => ({
    ...upstreamTo(pair.dbPublic, { host: '127.0.0.1', port }),
    destination_name: 'db',
  })
  const bad = (port: number) => ({
    ...upstreamTo(nowhere, { host: '127.0.0.1', port }),
    destination_name: 'off',
  })
  await pair.web.rewrite({ upstreams: [good(pair.webUpstream.port), bad(other.port)] })
  await pair.web.applied(2)
  await pair.connect().gets('db')
  await pair.web.rewrite({ upstreams: [bad(pair.webUpstream.port), good(other.port)] })
  await pair.web.applied(3)
  await connect(t, other).gets('db')
  await pair.connect().isOver()
  assert.match(await pair.web.command.line('reason=connect_failed'), / service=off /)
})

test('settings that need a restart are named and change nothing, the others are taken up', async t => {
  const pair = await startPair(t, { webOptions: { env: ownPlane } })
  const elsewhere = formatAddress(await freePort())
  await pair.web.rewrite({
    admin: elsewhere,
    metrics: formatAddress(await freePort()),
    log_json: true,
    data_plane: 'javascript',
    workers: 1,
    key_exchange: 'x25519mlkem768',
    resumption: 'off',
    ktls: 'off',
    buffer_memory: '64MiB',
    access_log: 'off',
  })
  const line = await pair.web.command.line('need a restart')
  assert.match(
    line,
    / WARN .* keys=\["admin","metrics","data_plane","workers","key_exchange","resumption","ktls","buffer_memory","log_json"\]$/,
  )
  await pair.web.applied(2)
  assert.equal((await pair.web.get('/live')).status, 200)
  const client = pair.connect()
  await client.echoes('hello')
  client.socket.end()
  await client.ends()
  await pair.db.command.line('session ended')
  await pair.web.eventually(async () => (await pair.web.json<object[]>('/sessions')).length === 0, 'the end')
  assert.deepEqual(pair.web.command.linesWith('session ended'), [])
})
