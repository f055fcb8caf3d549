// Who dials a public listener of a mesh and is no sidecar of it: refused one by one, the app untouched.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { setCa } from '../support/consul-ca.ts'
import { parseLogLine } from '../support/log-lines.ts'
import { startMeshPair } from '../support/mesh.ts'
import { sClient, tls11 } from '../support/openssl.ts'
import { issueLeaf, issueRoot, spiffeId } from '../support/pki.ts'
import { planeOf } from '../support/sidecar-planes.ts'
import { tlsConnect } from '../support/tls-peers.ts'

// RFC 8446 section 6: certificate_required is alert 116; RFC 5246 section 7.2: handshake_failure is alert 40.
const certificateRequired = { version: 'TLSv1.3', alert: 116, code: /_ALERT_CERTIFICATE_REQUIRED$/ } as const
const handshakeFailure = { version: 'TLSv1.2', alert: 40, code: /_ALERT_HANDSHAKE_FAILURE$/ } as const

test('a public listener of a mesh', async t => {
  const agent = await startConsul(t)
  const { root, trustDomain } = await setCa(agent)
  const pair = await startMeshPair(t, agent)
  const uris = [spiffeId('web', trustDomain)]
  const certificate = await issueLeaf('web', root, { uris })
  let ended = 0

  /** The line of the session that has just been refused. */
  const refusal = async () => {
    const { fields } = parseLogLine(await pair.db.command.line('session ended', ++ended))
    assert.equal(pair.app.connections.length, 0, 'the app saw it')
    return fields
  }

  for (const { version, alert, code } of [certificateRequired, handshakeFailure]) {
    await t.test(`refuses who has no certificate by ${version} with alert ${alert}`, async t => {
      const options = { minVersion: version, maxVersion: version }
      const peer = tlsConnect(t, pair.dbPublic, { root, options })
      assert.match(await peer.fails(), code)
      assert.equal((await refusal()).reason, 'peer_certificate_refused')
    })
  }

  await t.test('refuses TLS 1.1 with alert 70', async t => {
    const client = sClient(t, pair.dbPublic, tls11, { certificate, root })
    await client.prints('SSL alert number 70')
    await client.exit()
    assert.equal((await refusal()).reason, 'handshake_failed')
  })

  await t.test(
    'refuses a name of the mesh that a CA of no mesh gives, with alert 48 on native and none on JavaScript',
    async t => {
      const stranger = await issueLeaf('web', await issueRoot('stranger'), { uris })
      const peer = tlsConnect(t, pair.dbPublic, { certificate: stranger, root })
      peer.send('hello')
      await peer.isOver()
      // Node closes without an alert where OpenSSL had nothing against the handshake itself; a reset may be told with it.
      if (planeOf('dialed').dataPlane === 'native') assert.match(peer.error ?? '', /ALERT_UNKNOWN_CA$/)
      else assert.doesNotMatch(peer.error ?? '', /ALERT/)
      assert.equal(peer.received, 0)
      assert.equal((await refusal()).reason, 'peer_certificate_refused')
    },
  )

  await t.test('refuses the name of another trust domain that its own CA gives', async t => {
    const foreign = await issueLeaf('web', root, { uris: [spiffeId('web', 'elsewhere.consul')] })
    const peer = tlsConnect(t, pair.dbPublic, { certificate: foreign, root })
    peer.send('hello')
    await peer.fails()
    const { reason, detail } = await refusal()
    assert.equal(reason, 'foreign_trust_domain')
    assert.equal(detail, `got elsewhere.consul, ours is ${trustDomain}`)
  })

  await t.test('refuses two names in one certificate, and none', async t => {
    for (const names of [[...uris, spiffeId('db', trustDomain)], []]) {
      const unclear = await issueLeaf('web', root, { uris: names })
      const peer = tlsConnect(t, pair.dbPublic, { certificate: unclear, root })
      peer.send('hello')
      await peer.fails()
      assert.equal((await refusal()).reason, 'peer_identity_refused')
    }
  })

  await t.test('lets in who has a name of its trust domain from its CA', async t => {
    await tlsConnect(t, pair.dbPublic, { certificate, root }).echoes('hello')
  })
})
