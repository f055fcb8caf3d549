// Records of another implementation, the openssl command line, on either side: each suite of both versions, key updates, shorter
// records, half-closes and an attempt at renegotiation.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { native, ownRecords } from '../support/data-planes.ts'
import { echo, sendMany } from '../support/ends.ts'
import { sClient, sServer } from '../support/openssl.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const suites = [
  ['-tls1_3', '-ciphersuites', 'TLS_AES_128_GCM_SHA256'],
  ['-tls1_3', '-ciphersuites', 'TLS_AES_256_GCM_SHA384'],
  ['-tls1_3', '-ciphersuites', 'TLS_CHACHA20_POLY1305_SHA256'],
  ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-GCM-SHA256'],
  ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES256-GCM-SHA384'],
  ['-tls1_2', '-cipher', 'ECDHE-ECDSA-CHACHA20-POLY1305'],
] as const

const kilobyte = 1024
const line = (length: number) => `${'l'.repeat(length - 1)}\n`
// Longer than a record, and no whole number of them.
const long = line(40 * kilobyte + 7)
/** Its own words come before and behind what a client prints of the connection. */
const received = (output: string) => output.split('l').length - 1

native('records of openssl', plane => {
  for (const suite of suites) {
    const name = suite[2]
    test(`${name} with a client, and many records each way`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      const client = sClient(t, rig.publicAddress, [...suite, '-quiet', '-no_ign_eof'])
      for (let at = 0; at < 3; at++) {
        const before = received(client.output)
        client.send(long)
        await until(() => received(client.output) >= before + long.length - 1, 'the echo')
      }
      client.end()
      await client.exit()
      assert.equal(received(client.output), 3 * (long.length - 1))
      const record = await rig.b.record()
      assert.equal(record.reason, 'closed')
      assert.equal(record.bytesToUpstream, 3 * long.length)
      assert.equal(record.bytesToDownstream, 3 * long.length)
    })

    test(`${name} with a server, and many records each way`, async t => {
      const rig = await openRig(t, plane)
      // It sends every line back in reverse.
      const { address } = await sServer(t, [...suite, '-rev', '-Verify', '1', '-verify_return_error'])
      rig.a.routes([endpoint(address)])
      const client = rig.connect()
      for (let at = 1; at <= 20; at++) {
        client.send(`${'ab'.repeat(at * 100)}\n`)
        const bytes = Array.from({ length: at }, (_, of) => (of + 1) * 200 + 1).reduce((sum, of) => sum + of)
        await until(() => client.received >= bytes || client.error, 'the answer')
        assert.equal(client.error, undefined)
      }
      assert.ok(client.text.startsWith(`${'ba'.repeat(100)}\n${'ba'.repeat(200)}\n`))
      client.socket.end()
      await client.isOver()
      assert.equal((await rig.a.record()).cipher, await standardName(name))
    })
  }

  for (const [args, title, agreed] of [
    [['-max_send_frag', '512', '-split_send_frag', '512'], 'records of 512 bytes', false],
    [['-maxfraglen', '512'], 'records of 512 bytes by agreement', true],
    [['-maxfraglen', '4096', '-tls1_2'], 'records of 4096 bytes by agreement in TLS 1.2', true],
    [['-tls1_3', '-record_padding', '16384'], 'records that are padded to their full length', false],
  ] as const) {
    test(`${title} carry a client's session`, async t => {
      // The kernel knows one size: shorter ones that we may send are made by ourselves there, too.
      const under = agreed ? { ...plane, relay: 'records' as const } : plane
      const rig = await openRig(t, under, { serve: echo })
      const client = sClient(t, rig.publicAddress, [...args, '-quiet', '-no_ign_eof'])
      client.send(long)
      await until(() => received(client.output) >= long.length - 1 || client.exited, 'the echo')
      assert.equal(received(client.output), long.length - 1, client.output.slice(0, 500))
      client.end()
      await client.exit()
      assert.equal((await rig.b.record()).reason, 'closed')
    })
  }

  test('many megabytes go to a server in records of 16 KiB, and none is lost', async t => {
    const rig = await openRig(t, plane, { outbound: { halfCloseTimeoutMs: 20_000 } })
    const { address, server } = await sServer(t, ['-tls1_3', '-Verify', '1'])
    rig.a.routes([endpoint(address)])
    const client = rig.connect()
    const bytes = 8 * kilobyte * kilobyte
    await sendMany(client, bytes)
    await until(() => server.outputBytes >= bytes, 'all of it')
    client.reset()
    assert.equal((await rig.a.record()).bytesToUpstream, bytes)
  })

  test('a client of TLS 1.2 that wants to renegotiate is told that there is none, and the data before is kept', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const client = sClient(t, rig.publicAddress, ['-tls1_2', '-msg'])
    client.send('before\n')
    await client.prints('\nbefore')
    client.send('R\n')
    await client.prints('no_renegotiation')
    await client.exit()
    const record = await rig.b.record()
    assert.equal(record.bytesToUpstream, 'before\n'.length)
    assert.ok(record.reason !== 'internal_error', record.reason)
  })

  test('a server of TLS 1.2 that wants to renegotiate is told that there is none', async t => {
    const rig = await openRig(t, plane)
    const { address, server } = await sServer(t, ['-tls1_2', '-msg', '-Verify', '1'])
    rig.a.routes([endpoint(address)])
    const client = rig.connect()
    client.send('hello\n')
    await server.prints('hello')
    server.send('r\n')
    await server.prints('no_renegotiation')
  })
})

ownRecords('keys that openssl updates', plane => {
  for (const [key, title, answered] of [
    ['k', 'its own key', 0],
    ['K', 'both keys', 1],
  ] as const) {
    test(`a client that updates ${title} goes on talking`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      const client = sClient(t, rig.publicAddress, ['-tls1_3', '-msg'])
      await client.prints('Verify return code')
      for (let at = 0; at < 3; at++) {
        client.send(`${key}\n`)
        await until(() => client.output.split('KEYUPDATE').length > 1 + at, 'the update')
        client.send(`word ${at}\n`)
        await until(() => client.output.includes(`\nword ${at}\n`), 'the echo')
      }
      const answers = client.output.match(/<<< TLS 1.3, Handshake \[length 0005\], KeyUpdate/g) ?? []
      assert.equal(answers.length, 3 * answered)
    })

    test(`a server that updates ${title} goes on talking`, async t => {
      const rig = await openRig(t, plane)
      const { address, server } = await sServer(t, ['-tls1_3', '-msg', '-Verify', '1'])
      rig.a.routes([endpoint(address)])
      const client = rig.connect()
      client.send('hello\n')
      await server.prints('hello')
      for (let at = 0; at < 3; at++) {
        server.send(`${key}\n`)
        await until(
          () => (server.output.match(/>>> TLS 1.3, Handshake \[length 0005\], KeyUpdate/g) ?? []).length > at,
          'the update',
        )
        server.send(`word ${at}\n`)
        await until(() => client.text.includes(`word ${at}\n`), 'the word')
        client.send(`answer ${at}\n`)
        await server.prints(`answer ${at}`)
      }
      const answers = server.output.match(/<<< TLS 1.3, Handshake \[length 0005\], KeyUpdate/g) ?? []
      assert.equal(answers.length, 3 * answered)
    })
  }
})

async function standardName(name: string): Promise<string> {
  if (name.startsWith('TLS_')) return name
  const names: Record<string, string> = {
    'ECDHE-ECDSA-AES128-GCM-SHA256': 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384': 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305': 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256',
  }
  return names[name] ?? name
}
