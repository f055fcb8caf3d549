// TLS 1.2 and 1.3 and nothing older; the other side is the openssl command line.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { sClient, sServer, tls11 } from '../support/openssl.ts'
import { endpoint, openRig } from '../support/rig.ts'

conformance('TLS versions', plane => {
  test('TLS 1.1 from a peer that dials us is refused with alert 70', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const client = sClient(t, rig.publicAddress, tls11)
    await client.prints('SSL alert number 70')
    await client.exit()
    const record = await rig.b.record()
    assert.equal(record.reason, 'handshake_failed')
    assert.equal(rig.app.connections.length, 0)
  })

  test('the same TLS 1.1 client gets through to a server that takes it', async t => {
    const { address } = await sServer(t, tls11)
    const client = sClient(t, address, tls11)
    await client.prints('Protocol  : TLSv1.1')
  })

  test('TLS 1.1 of a peer that we dial is refused', async t => {
    const rig = await openRig(t, plane)
    const { address } = await sServer(t, tls11)
    rig.a.routes([endpoint(address)])
    const client = rig.connect()
    await client.fails()
    const record = await rig.a.record()
    assert.deepEqual(
      record.attempts.map(({ outcome }) => outcome),
      ['handshake_failed'],
    )
  })

  for (const [flag, version] of [
    ['-tls1_2', 'TLSv1.2'],
    ['-tls1_3', 'TLSv1.3'],
  ] as const) {
    test(`${version} from a peer that dials us is accepted`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      const client = sClient(t, rig.publicAddress, [flag, '-quiet', '-no_ign_eof'])
      client.send('hello from openssl\n')
      await client.prints('hello from openssl')
      client.end()
      await client.exit()
      assert.equal((await rig.b.record()).tlsVersion, version)
    })

    test(`${version} of a peer that we dial is accepted`, async t => {
      const rig = await openRig(t, plane)
      const { address, server } = await sServer(t, [flag, '-Verify', '1', '-verify_return_error'])
      rig.a.routes([endpoint(address)])
      const client = rig.connect()
      client.send('hello to openssl\n')
      await server.prints('hello to openssl')
      server.send('and back\n')
      await client.gets('and back\n')
      client.socket.end()
      await client.isOver()
      assert.equal((await rig.a.record()).tlsVersion, version)
    })
  }
})
