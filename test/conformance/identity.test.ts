// Who we are and whom we trust is replaced whole or not at all, under load, and no session notices.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SidespliceError } from '../../src/errors.ts'
import { conformance } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { issueLeaf, issueRoot, mesh } from '../support/pki.ts'
import { openRig, type Rig } from '../support/rig.ts'
import { tlsConnect } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'

const atOnce = 4
const connectionsAStep = 12
const leavesInARow = 5

conformance('identity', plane => {
  test('a new leaf is presented from the next handshake on', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const old = tlsConnect(t, rig.publicAddress, { certificate: mesh.web, root: mesh.root })
    await old.echoes('by the old one')
    const otherRoot = await issueRoot('other')
    rig.b.setIdentity(await issueLeaf('db', otherRoot), mesh.root)
    const next = tlsConnect(t, rig.publicAddress, { certificate: mesh.web, root: otherRoot })
    await next.echoes('by the new one')
    await old.echoes(', still')
  })

  test('leaves and roots are exchanged under load and no connection fails', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { client: lasting } = await rig.connected()
    await lasting.echoes('a')
    const load = keepConnecting(rig)
    t.after(() => load.stop())
    await load.goesOn()

    for (let at = 0; at < leavesInARow; at++) {
      await set(rig, mesh.root, [mesh.root])
      await load.goesOn()
    }
    const next = await issueRoot('next root')
    await set(rig, mesh.root, [mesh.root, next])
    await load.goesOn()
    await set(rig, next, [mesh.root, next])
    await load.goesOn()
    await set(rig, next, [next])
    await load.goesOn()
    await load.stop()

    assert.deepEqual(load.failures, [])
    assert.deepEqual(
      [...new Set([...rig.a.records, ...rig.b.records].map(({ reason }) => reason))],
      ['closed'],
    )
    await lasting.echoes('b')
    const stranger = tlsConnect(t, rig.publicAddress, { certificate: mesh.web, root: next })
    stranger.send('hello')
    await stranger.isOver()
    await until(
      () => rig.b.records.find(({ reason }) => reason === 'peer_certificate_refused'),
      'the old leaf to be refused',
    )
  })

  const garbage: readonly (readonly [
    string,
    Partial<{ chainPem: string; privateKey: string; rootsPem: string }>,
  ])[] = [
    ['a chain that is no PEM', { chainPem: 'garbage' }],
    ['an empty chain', { chainPem: '' }],
    ['an empty key', { privateKey: '' }],
    ['a key that is no PEM', { privateKey: 'garbage' }],
    ['the key of another leaf', { privateKey: mesh.web.keyPem }],
    ['roots that are no PEM', { rootsPem: 'garbage' }],
    ['no roots', { rootsPem: '' }],
    ['a certificate with broken bytes', { chainPem: mesh.db.chainPem.replace(/[A-Za-z]{8}/, 'AAAAAAAA') }],
  ]
  for (const [title, parts] of garbage) {
    test(`${title}: refused, and the former identity stays`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      const { chainPem, privateKey, rootsPem } = {
        chainPem: mesh.db.chainPem,
        privateKey: mesh.db.keyPem,
        rootsPem: mesh.root.certPem,
        ...parts,
      }
      assert.throws(
        () =>
          rig.b.plane.setIdentity({ generation: 2, chainPem, privateKey: Buffer.from(privateKey), rootsPem }),
        (error: unknown) =>
          error instanceof SidespliceError &&
          error.code === 'identity_refused' &&
          error.source === 'data-plane',
      )
      await rig.connect().echoes('hello')
    })
  }
})

async function set(
  rig: Rig,
  issuer: Awaited<ReturnType<typeof issueRoot>>,
  roots: readonly (typeof issuer)[],
): Promise<void> {
  const [web, db] = [await issueLeaf('web', issuer), await issueLeaf('db', issuer)]
  rig.a.generation++
  rig.b.generation++
  rig.b.setIdentity(db, ...roots)
  rig.a.setIdentity(web, ...roots)
}

/** Connections one after the other, some at a time; each says something and hears it back. */
function keepConnecting(rig: Rig) {
  const failures: unknown[] = []
  let done = 0
  let stopped = false
  const loops = Array.from({ length: atOnce }, async (_, at) => {
    while (!stopped) {
      const client = rig.connect()
      try {
        await client.echoes(`loop ${at}`)
        client.socket.end()
        await client.ends()
        done++
      } catch (error) {
        failures.push(error)
      }
    }
  })
  return {
    failures,
    async goesOn() {
      const from = done
      await until(() => done >= from + connectionsAStep, 'more connections')
    },
    async stop() {
      stopped = true
      await Promise.all(loops)
    },
  }
}
