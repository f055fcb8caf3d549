// Plaintext legs on unix sockets: the local app behind one, an upstream listener on one, and the file of a listener: whose it is, who may
// use it, and what is never removed.
import assert from 'node:assert/strict'
import { linkSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { socketAddress } from '../../src/address.ts'
import { conformance } from '../support/data-planes.ts'
import { connect, echo, openApp, sendMany } from '../support/ends.ts'
import { openRig } from '../support/rig.ts'
import { listener, Sidecar } from '../support/sidecar.ts'
import { until } from '../support/until.ts'

const megabyte = 1024 * 1024

function folder(t: TestContext): (name: string) => string {
  const path = mkdtempSync(join(tmpdir(), 'sidesplice-socket-'))
  t.after(() => rmSync(path, { recursive: true }))
  return name => join(path, name)
}

/** A server of somebody else's. */
async function listenAt(t: TestContext, path: string): Promise<net.Server> {
  const server = net.createServer(socket => {
    // Whoever only looks whether it listens resets it.
    socket.on('error', () => {})
    socket.end('of another')
  })
  await new Promise<void>(resolve => server.listen(path, resolve))
  t.after(() => server.close())
  return server
}

/** What a process leaves behind that was killed: a socket, and nobody who listens. */
async function leaveStale(path: string): Promise<void> {
  const server = net.createServer()
  await new Promise<void>(resolve => server.listen(`${path}.bound`, resolve))
  linkSync(`${path}.bound`, path)
  await new Promise(resolve => server.close(resolve))
}

const isThere = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined

conformance('unix sockets', plane => {
  const upstream = (path: string, socketMode?: number) =>
    listener({
      direction: 'outbound',
      bind: socketAddress(path),
      ...(socketMode !== undefined && { socketMode }),
    })

  test('an upstream listener and a local app on them carry every byte both ways, and each end by itself', async t => {
    const at = folder(t)
    const rig = await openRig(t, plane)
    const app = await openApp(t, { path: at('app.sock'), serve: echo })
    rig.b.admits(app.address)
    const [report] = await rig.a.listen(upstream(at('db.sock')))
    assert.deepEqual([report?.error, report?.bind], [undefined, socketAddress(at('db.sock'))])
    const client = connect(t, socketAddress(at('db.sock')))
    const digest = await sendMany(client, 8 * megabyte)
    client.socket.end()
    await client.ends()
    assert.deepEqual([client.received, client.digest()], [8 * megabyte, digest])
    const [record, peers] = [await rig.a.record(), await rig.b.record()]
    assert.deepEqual([record.reason, peers.reason], ['closed', 'closed'])
    assert.equal(record.downstream, undefined)
    assert.equal(record.bytesToUpstream, 8 * megabyte)
  })

  test('many at once go through, whatever the backlog of the app', async t => {
    const at = folder(t)
    const rig = await openRig(t, plane)
    const app = net.createServer(socket => socket.pipe(socket))
    await new Promise<void>(resolve => app.listen({ path: at('app.sock'), backlog: 1 }, resolve))
    t.after(() => app.close())
    rig.b.admits(socketAddress(at('app.sock')))
    await rig.a.listen(upstream(at('db.sock')))
    const clients = Array.from({ length: 50 }, () => connect(t, socketAddress(at('db.sock'))))
    await Promise.all(clients.map(client => client.echoes('hello')))
    for (const client of clients) client.socket.destroy()
  })

  test('a local app that is not there is told by its path', async t => {
    const at = folder(t)
    const rig = await openRig(t, plane)
    rig.b.admits(socketAddress(at('app.sock')))
    await rig.connect().isOver()
    const record = await rig.b.record()
    assert.equal(record.reason, 'local_app_unreachable')
    assert.equal(record.detail, `unix:${at('app.sock')}: ENOENT`)
  })

  test('nobody but its own user may connect unless a mode says so, and a mode changes live', async t => {
    const at = folder(t)
    const sidecar = new Sidecar(t, plane)
    const mode = (name: string) => statSync(at(name)).mode & 0o777
    await sidecar.listen(upstream(at('a')))
    assert.equal(mode('a'), 0o600)
    const { ino } = statSync(at('a'))
    await sidecar.listen(upstream(at('a'), 0o666))
    await until(() => mode('a') === 0o666, 'the mode')
    assert.equal(statSync(at('a')).ino, ino)
    const other = new Sidecar(t, plane)
    await other.listen(upstream(at('b'), 0o660))
    assert.equal(mode('b'), 0o660)
  })

  test('a socket that nobody listens on is replaced', async t => {
    const at = folder(t)
    await leaveStale(at('db.sock'))
    const rig = await openRig(t, plane, { serve: echo })
    const [report] = await rig.a.listen(upstream(at('db.sock')))
    assert.equal(report?.error, undefined)
    await connect(t, socketAddress(at('db.sock'))).echoes('through')
  })

  test('a socket that somebody listens on, and what is no socket, stay as they are', async t => {
    const at = folder(t)
    const sidecar = new Sidecar(t, plane)
    await listenAt(t, at('taken'))
    writeFileSync(at('file'), 'a file')
    const reports = await sidecar.listen(
      listener({ direction: 'outbound', key: 'a', name: 'a', bind: socketAddress(at('taken')) }),
      listener({ direction: 'outbound', key: 'b', name: 'b', bind: socketAddress(at('file')) }),
      listener({ direction: 'outbound', key: 'c', name: 'c', bind: socketAddress(at('no/folder')) }),
    )
    assert.deepEqual(
      reports.map(({ error }) => error),
      ['EADDRINUSE', 'EEXIST', 'ENOENT'],
    )
    assert.equal(readFileSync(at('file'), 'utf8'), 'a file')
    await connect(t, socketAddress(at('taken'))).gets('of another')
  })

  test('the file goes with its listener, unless another has taken its place', async t => {
    const at = folder(t)
    const sidecar = new Sidecar(t, plane)
    await sidecar.listen(upstream(at('a')))
    await sidecar.listen(upstream(at('b')))
    await until(() => !isThere(at('a')), 'the former to go')
    rmSync(at('b'))
    await listenAt(t, at('b'))
    await sidecar.plane.close()
    await connect(t, socketAddress(at('b'))).gets('of another')
  })
})
