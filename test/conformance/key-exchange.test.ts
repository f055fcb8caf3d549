// What handshakes agree on their keys by, read from the wire between two sidecars: X25519, and with the setting X25519MLKEM768 where the
// other has it too; and nobody is refused for having the other alone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KeyExchange } from '../../src/config/config.ts'
import { requireKeyExchange } from '../../src/data-plane/key-exchange.ts'
import { conformance } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { openMiddle } from '../support/middle.ts'
import { endpoint, openRig } from '../support/rig.ts'
import { agreedBy, x25519, x25519mlkem768 } from '../support/server-hello.ts'

const [major = 0, minor = 0] = process.versions.openssl.split('.').map(Number)
const hasMlKem = major > 3 || (major === 3 && minor >= 5)

test('X25519MLKEM768 is refused with the reason just where the OpenSSL inside Node is older than 3.5', () => {
  const ask = () => requireKeyExchange('x25519mlkem768')
  if (hasMlKem) ask()
  else assert.throws(ask, { code: 'key_exchange_unavailable', message: /needs OpenSSL 3\.5 .* has 3\.\d/ })
  requireKeyExchange('x25519')
})

conformance('key exchange', plane => {
  const pairs: readonly (readonly [KeyExchange | undefined, KeyExchange | undefined, number])[] = [
    [undefined, undefined, x25519],
    ['x25519', 'x25519', x25519],
    ...(hasMlKem
      ? ([
          ['x25519mlkem768', 'x25519mlkem768', x25519mlkem768],
          ['x25519mlkem768', undefined, x25519],
          [undefined, 'x25519mlkem768', x25519],
        ] as const)
      : []),
  ]
  for (const [a, b, group] of pairs) {
    const agreed = group === x25519 ? 'X25519' : 'X25519MLKEM768'
    test(`${a ?? 'the default'} and ${b ?? 'the default'} agree on ${agreed}, in one round trip`, async t => {
      const rig = await openRig(t, plane, {
        serve: echo,
        keyExchange: { ...(a !== undefined && { a }), ...(b !== undefined && { b }) },
      })
      const middle = await openMiddle(t, rig.publicAddress)
      rig.a.routes([endpoint(middle.address)])
      const client = rig.connect()
      client.send('hello')
      await client.gets('hello')
      assert.deepEqual(agreedBy(middle.crossings[0]?.answer() ?? Buffer.alloc(0)), { group, retried: false })
      client.socket.end()
      await client.isOver()
      assert.equal((await rig.a.record()).tlsVersion, 'TLSv1.3')
    })
  }
})
