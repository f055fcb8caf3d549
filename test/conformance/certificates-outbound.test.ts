// Whom an upstream listener talks to: the certificate of a peer that we dial, rule by rule. What is refused gets no byte.
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { certificateCases } from '../support/certificate-cases.ts'
import { conformance, type DataPlaneUnderTest } from '../support/data-planes.ts'
import { connect, echo } from '../support/ends.ts'
import { type IssuedCertificate, issueLeaf, mesh, spiffeId } from '../support/pki.ts'
import { endpoint } from '../support/rig.ts'
import { Sidecar } from '../support/sidecar.ts'
import { openTlsServer, type TlsServerOptions } from '../support/tls-peers.ts'

conformance('certificates of peers that we dial', plane => {
  for (const { title, accepted, make } of certificateCases) {
    for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
      test(`${title} is ${accepted ? 'accepted' : 'refused'} by ${version}`, async t => {
        const { certificate, chainPem, root } = await make('db')
        const options = { minVersion: version, maxVersion: version } as const
        const dialing = await dial(t, plane, {
          certificate,
          root,
          options,
          ...(chainPem !== undefined && { chainPem }),
        })
        if (accepted) {
          await dialing.carries()
          assert.equal((await dialing.a.record()).tlsVersion, version)
          return
        }
        await dialing.refuses('peer_certificate_refused')
      })
    }
  }

  const identities: readonly (readonly [string, readonly string[]])[] = [
    ['another service', [spiffeId('billing')]],
    ['the same service of another trust domain', [spiffeId('db', 'other.test')]],
    ['no URI SAN', []],
    ['two URI SANs, the expected one first', [spiffeId('db'), spiffeId('web')]],
    ['two URI SANs, the expected one last', [spiffeId('web'), spiffeId('db')]],
    ['the expected URI SAN in other letters', [spiffeId('DB')]],
    ['the expected URI SAN with more behind it', [`${spiffeId('db')}/x`]],
  ]
  for (const [title, uris] of identities) {
    test(`a peer that proves ${title} is refused`, async t => {
      const dialing = await dial(t, plane, {
        certificate: await issueLeaf('db', mesh.root, { uris }),
        root: mesh.root,
      })
      await dialing.refuses('identity_mismatch')
    })
  }

  test('a peer that proves any of the expected identities is accepted', async t => {
    const dialing = await dial(t, plane, { certificate: mesh.db, root: mesh.root })
    dialing.a.routes([endpoint(dialing.serverAddress, { expect: [spiffeId('billing'), spiffeId('db')] })])
    await dialing.carries()
    assert.equal((await dialing.a.record()).peer, spiffeId('db'))
  })

  test('a DNS name that fits is no identity', async t => {
    const certificate = await issueLeaf('db', mesh.root, {
      uris: [],
      dnsNames: ['db.default.dc1.internal.mesh.test'],
    })
    const dialing = await dial(t, plane, { certificate, root: mesh.root })
    dialing.a.routes([endpoint(dialing.serverAddress, { serverName: 'db.default.dc1.internal.mesh.test' })])
    await dialing.refuses('identity_mismatch')
  })
})

interface Presenting extends Omit<TlsServerOptions, 'serve'> {
  readonly certificate: IssuedCertificate
  readonly root: IssuedCertificate
}

/** A sidecar of web and, where db's would be, a TLS server that echoes. */
async function dial(t: TestContext, plane: DataPlaneUnderTest, presenting: Presenting) {
  const server = await openTlsServer(t, { ...presenting, root: mesh.root, serve: echo })
  const a = new Sidecar(t, plane)
  a.setIdentity(mesh.web, presenting.root)
  a.routes([endpoint(server.address)])
  const address = await a.listenAt({ direction: 'outbound' })
  return {
    a,
    serverAddress: server.address,
    async carries() {
      const client = connect(t, address)
      await client.echoes('hello')
      client.socket.end()
      await client.ends()
    },
    async refuses(outcome: string) {
      const client = connect(t, address)
      client.send('hello')
      await client.fails()
      const record = await a.record()
      assert.equal(record.reason, 'connect_failed')
      assert.equal(record.relayed, false)
      assert.deepEqual(
        record.attempts.map(attempt => attempt.outcome),
        [outcome],
        record.detail,
      )
      assert.equal(
        server.connections.reduce((sum, { received }) => sum + received, 0),
        0,
      )
      assert.equal(a.plane.counters().listeners.get('db')?.endpoints.get('db-1')?.consecutiveFailures, 1)
    },
  }
}
