// What does not validate leaves everything as it was, says what is wrong, and the next good one is taken up.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { issueLeaf, issueRoot, mesh, spiffeId } from '../support/pki.ts'
import { type RunningSidecar, startPair } from '../support/running-sidecar.ts'
import { presentedBy, serialOf } from '../support/tls-hello.ts'

const minuteMs = 60_000
const ago = (minutes: number) => new Date(Date.now() - minutes * minuteMs)

interface Case {
  readonly spoil: (db: RunningSidecar) => Promise<void>
  readonly says: RegExp
}

const cases: Readonly<Record<string, Case>> = {
  'a file that is not JSON': {
    spoil: db => db.folder.write('sidecar.json', '{ "service": '),
    says: /sidecar\.json: got text that is not JSON /,
  },
  'an empty file': {
    spoil: db => db.folder.write('sidecar.json', ''),
    says: /sidecar\.json: got text that is not JSON /,
  },
  'a file with an unknown key': {
    spoil: db => db.rewrite({ alow: [] }),
    says: /sidecar\.json: alow: got an unknown key/,
  },
  'a file that has gone': {
    spoil: db => rm(db.folder.file('sidecar.json')),
    says: /sidecar\.json: got ENOENT, expected a file that can be read/,
  },
  'an expired leaf': {
    spoil: async db =>
      db.folder.writeIdentity(
        await issueLeaf('db', mesh.root, { notBefore: ago(10), notAfter: ago(1) }),
        mesh.root,
      ),
    says: /leaf\.pem: identity\.cert_file: got expired /,
  },
  'a leaf of a foreign CA': {
    spoil: async db => db.folder.writeIdentity(await issueLeaf('db', await issueRoot('foreign')), mesh.root),
    says: /leaf\.pem: identity\.cert_file: got untrusted /,
  },
  'a key of another certificate': {
    spoil: db => db.folder.replace('leaf.key', mesh.web.keyPem),
    says: /leaf\.pem: identity\.cert_file: got key_mismatch /,
  },
  'a certificate file that is cut off': {
    spoil: db => db.folder.replace('leaf.pem', mesh.db.certPem.slice(0, 200)),
    says: /leaf\.pem: identity\.cert_file: got bad_certificate /,
  },
  'roots that have gone': {
    spoil: db => rm(db.folder.file('ca.pem')),
    says: /ca\.pem: identity\.ca_file: got ENOENT/,
  },
}

describe('refused while running', { concurrency: 2 }, () => {
  for (const [title, { spoil, says }] of Object.entries(cases)) {
    test(title, async t => {
      const pair = await startPair(t)
      const session = pair.connect()
      await session.echoes('one')
      await spoil(pair.db)
      // That a change is noticed without it is shown where good ones are taken up.
      pair.db.command.signal('SIGHUP')
      const line = await pair.db.command.line('refused, the former one stays')
      assert.match(line, / ERROR /)
      assert.match(line, says)
      assert.ok((await pair.db.metric('sidesplice_config_reloads_total', { result: 'failure' })) >= 1)
      await session.echoes(' still')
      await pair.connect().echoes('new ones too')
      assert.deepEqual(await presentedBy(pair.dbPublic, mesh.web), [serialOf(mesh.db)])
      assert.equal((await pair.db.get('/ready')).status, 200)

      const next = await issueLeaf('db', mesh.root)
      await pair.db.folder.writeIdentity(next, mesh.root)
      await pair.db.rewrite({ drain: 1 })
      pair.db.command.signal('SIGHUP')
      await pair.db.command.line('certificate taken up', 2)
      await pair.db.applied(2)
      assert.deepEqual(await presentedBy(pair.dbPublic, mesh.web), [serialOf(next)])
      assert.equal(await pair.db.metric('sidesplice_config_reloads_total', { result: 'success' }), 1)
      await session.echoes(' and on')
    })
  }

  test('a named pipe in the place of a file holds neither reloads nor the end', async t => {
    const pair = await startPair(t)
    await rm(pair.db.folder.file('ca.pem'))
    execFileSync('mkfifo', [pair.db.folder.file('ca.pem')])
    const line = await pair.db.command.line('certificate refused, the former one stays')
    assert.match(line, /ca\.pem: identity\.ca_file: got not_a_file/)
    await pair.db.folder.replace('ca.pem', mesh.root.certPem)
    await pair.db.command.line('configuration is good again')
    assert.equal((await pair.db.command.stop()).code, 0)
  })

  test('who may connect changes although our own certificate is bad', async t => {
    const pair = await startPair(t)
    const session = pair.connect()
    await session.echoes('one')
    await rm(pair.db.folder.file('leaf.pem'))
    await pair.db.rewrite({ inbound: { ...pair.db.config.inbound, allow: [] } as never })
    await pair.db.command.line('certificate refused, the former one stays')
    await session.isOver()
    assert.match(await pair.db.command.line('session ended'), / reason=no_longer_allowed/)
    assert.deepEqual(await presentedBy(pair.dbPublic, mesh.web), [serialOf(mesh.db)])
  })

  test('a certificate that is named before it is there is taken up when it comes', async t => {
    const pair = await startPair(t)
    const identity = { cert_file: 'later.pem', key_file: 'later.key', ca_file: 'ca.pem' }
    await pair.db.rewrite({ identity })
    await pair.db.command.line('refused, the former one stays')
    const next = await issueLeaf('db', mesh.root)
    await pair.db.folder.write('later.key', next.keyPem)
    await pair.db.folder.write('later.pem', next.chainPem)
    await pair.db.command.line('certificate taken up', 2)
    assert.deepEqual(await presentedBy(pair.dbPublic, mesh.web), [serialOf(next)])
  })

  test('a refused file that becomes the former one again is said to be good', async t => {
    const pair = await startPair(t)
    await pair.db.rewrite({ alow: [spiffeId('web')] })
    await pair.db.command.line('configuration refused')
    await pair.db.rewrite({})
    await pair.db.command.line('configuration is good again, nothing has changed')
    await pair.connect().echoes('hello')
  })
})
