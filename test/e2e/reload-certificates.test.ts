// New certificates hold from the next handshake on, live sessions are untouched.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { issue, issueLeaf, issueRoot, mesh } from '../support/pki.ts'
import { startPair } from '../support/running-sidecar.ts'
import { presentedBy, serialOf } from '../support/tls-hello.ts'
import { tlsConnect } from '../support/tls-peers.ts'

const presentsTo = mesh.web

test('a new leaf is presented from the next handshake on', async t => {
  const pair = await startPair(t)
  const session = pair.connect()
  await session.echoes('one')
  assert.deepEqual(await presentedBy(pair.dbPublic, presentsTo), [serialOf(mesh.db)])
  const next = await issueLeaf('db', mesh.root)
  await pair.db.folder.writeIdentity(next, mesh.root)
  assert.match(
    await pair.db.command.line('certificate taken up', 2),
    new RegExp(` serial=${serialOf(next)} not_after=\\S+Z roots=1$`),
  )
  assert.deepEqual(await presentedBy(pair.dbPublic, presentsTo), [serialOf(next)])
  await session.echoes(' and two')
  await pair.connect().echoes('three')
})

test('a certificate and its key, written one after the other, are taken up together', async t => {
  const pair = await startPair(t)
  const next = await issueLeaf('db', mesh.root)
  await pair.db.folder.replace('leaf.pem', next.chainPem)
  await pair.db.folder.replace('leaf.key', next.keyPem)
  await pair.db.command.line('certificate taken up', 2)
  assert.deepEqual(pair.db.command.linesWith('refused'), [])
  assert.deepEqual(await presentedBy(pair.dbPublic, presentsTo), [serialOf(next)])
})

test('a certificate whose key comes late is refused, and taken up with its key', async t => {
  const pair = await startPair(t)
  const next = await issueLeaf('db', mesh.root)
  await pair.db.folder.write('leaf.pem', next.chainPem)
  assert.match(
    await pair.db.command.line('refused, the former one stays'),
    /identity\.cert_file: got key_mismatch /,
  )
  assert.deepEqual(await presentedBy(pair.dbPublic, presentsTo), [serialOf(mesh.db)])
  await pair.db.folder.write('leaf.key', next.keyPem)
  await pair.db.command.line('certificate taken up', 2)
  assert.deepEqual(await presentedBy(pair.dbPublic, presentsTo), [serialOf(next)])
})

test('a new intermediate is presented although the leaf has stayed', async t => {
  const older = await issue({ commonName: 'intermediate', issuer: mesh.root, ca: true })
  const { keys } = older
  const newer = await issue({ commonName: 'intermediate', issuer: mesh.root, ca: true, keys })
  const leaf = await issueLeaf('db', older)
  const pair = await startPair(t, { dbOptions: { leaf } })
  assert.deepEqual(await presentedBy(pair.dbPublic, presentsTo), [serialOf(leaf), serialOf(older)])
  await pair.db.folder.replace('leaf.pem', leaf.certPem + newer.certPem)
  await pair.db.command.line('certificate taken up', 2)
  assert.deepEqual(await presentedBy(pair.dbPublic, presentsTo), [serialOf(leaf), serialOf(newer)])
})

test('a new set of roots decides who may connect, and live sessions go on', async t => {
  const next = await issueRoot('next')
  const pair = await startPair(t)
  const session = pair.connect()
  await session.echoes('one')
  const peer = { certificate: await issueLeaf('web', next), root: mesh.root }
  const early = tlsConnect(t, pair.dbPublic, peer)
  await early.isOver()
  assert.equal(pair.app.connections.length, 1)

  await pair.db.folder.replace('ca.pem', mesh.root.certPem + next.certPem)
  assert.match(await pair.db.command.line('certificate taken up', 2), / roots=2$/)
  await tlsConnect(t, pair.dbPublic, peer).echoes('by the new root')
  await pair.connect().echoes('by the old root')

  const replaced = await issueLeaf('db', next)
  await pair.db.folder.writeIdentity(replaced, next)
  assert.match(await pair.db.command.line('certificate taken up', 3), / roots=1$/)
  await tlsConnect(t, pair.dbPublic, { ...peer, root: next }).echoes('by the new root')
  const app = pair.app.connections.length
  await pair.connect().isOver()
  assert.equal(pair.app.connections.length, app)
  await session.echoes(' still')
})
