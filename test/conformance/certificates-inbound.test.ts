// Whom the public listener lets in: the certificate of a peer that dials us, rule by rule. What is refused, the app never sees.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { certificateCases } from '../support/certificate-cases.ts'
import { conformance } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { issueLeaf, mesh, spiffeId } from '../support/pki.ts'
import { openRig } from '../support/rig.ts'
import { tlsConnect } from '../support/tls-peers.ts'

conformance('certificates of peers that dial us', plane => {
  for (const { title, accepted, byChain = false, make } of certificateCases) {
    for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
      test(`${title} is ${accepted ? 'accepted' : 'refused'} by ${version}`, async t => {
        const rig = await openRig(t, plane, { serve: echo })
        const { certificate, chainPem, root } = await make('web')
        rig.b.setIdentity(mesh.db, root)
        const options = { minVersion: version, maxVersion: version } as const
        const peer = tlsConnect(t, rig.publicAddress, {
          certificate,
          root: mesh.root,
          options,
          ...(chainPem !== undefined && { chainPem }),
        })
        const unseen = byChain && !rig.b.plane.capabilities.peerChain
        if (accepted || unseen) {
          await peer.echoes('hello')
          assert.deepEqual(rig.b.admitQuestions[0]?.uriSans, [spiffeId('web')])
          assert.equal(rig.b.admitQuestions[0]?.serial, certificate.certificate.serialNumber.toUpperCase())
          peer.socket.end()
          const record = await rig.b.record()
          assert.equal(record.reason, 'closed')
          assert.equal(record.tlsVersion, version)
          return
        }
        peer.send('hello')
        await peer.isOver()
        const record = await rig.b.record()
        assert.equal(record.reason, 'peer_certificate_refused', record.detail)
        assert.equal(rig.b.admitQuestions.length, 0)
        assert.equal(rig.app.connections.length, 0)
        // In TLS 1.2 a write that waits for the handshake fails by EPROTO, and its text names the alert.
        if (rig.b.plane.capabilities.alerts)
          assert.match(`${peer.error} ${peer.errorText}`, /_ALERT_| alert /)
      })
    }
  }

  test('policy is given every URI SAN, in order, and none where there is none', async t => {
    const rig = await openRig(t, plane)
    const refused = [[], [spiffeId('web'), spiffeId('db')], ['https://example.test/a,b', spiffeId('web')]]
    rig.b.admit = (question, answer) => answer(rig.b.refusal(question, 'peer_identity_refused'))
    for (const [at, uris] of refused.entries()) {
      const peer = tlsConnect(t, rig.publicAddress, {
        certificate: await issueLeaf('web', mesh.root, { uris }),
        root: mesh.root,
      })
      await peer.isOver()
      assert.equal((await rig.b.record()).reason, 'peer_identity_refused')
      assert.deepEqual(rig.b.admitQuestions[at]?.uriSans, uris)
    }
    assert.equal(rig.app.connections.length, 0)
  })

  test('a refusal by policy is an error at the peer and nothing at the app', async t => {
    const rig = await openRig(t, plane)
    rig.b.admit = (question, answer) =>
      answer({ ...rig.b.refusal(question, 'denied'), peer: spiffeId('web'), detail: 'intention' })
    const client = rig.connect()
    client.send('hello')
    await client.fails()
    const record = await rig.b.record()
    assert.equal(record.reason, 'denied')
    assert.equal(record.detail, 'intention')
    assert.equal(record.peer, spiffeId('web'))
    assert.equal(record.relayed, false)
    assert.equal(rig.app.connections.length, 0)
    if (rig.b.plane.capabilities.alerts) assert.equal((await rig.a.record()).reason, 'denied_by_peer')
  })

  for (const [version, code] of [
    ['TLSv1.3', /ALERT_CERTIFICATE_REQUIRED$/],
    ['TLSv1.2', /ALERT_HANDSHAKE_FAILURE$/],
  ] as const) {
    test(`no certificate is refused by ${version} with its alert`, async t => {
      const rig = await openRig(t, plane)
      const peer = tlsConnect(t, rig.publicAddress, {
        root: mesh.root,
        options: { minVersion: version, maxVersion: version },
      })
      assert.match(await peer.fails(), code)
      assert.equal((await rig.b.record()).reason, 'peer_certificate_refused')
      assert.equal(rig.app.connections.length, 0)
    })
  }
})
