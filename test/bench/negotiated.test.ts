// A peer that is set up wrong is noticed before it is measured. Real peers, one line of their configuration changed.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Chain, type World } from '../../bench/chain.ts'
import { WrongSetup } from '../../bench/negotiated.ts'
import type { Peer } from '../../bench/peer.ts'
import { haproxy } from '../../bench/peers/haproxy.ts'
import { nginx } from '../../bench/peers/nginx.ts'
import { javascript, native } from '../../bench/peers/sidesplice.ts'
import { makeIdentities } from '../../src/bench/identities.ts'
import { LoadServer } from '../../src/bench/load.ts'
import { build } from '../support/command.ts'

const folder = mkdtempSync(join(tmpdir(), 'sidesplice-negotiated-'))
let app: LoadServer
let world: World

before(async () => {
  build()
  app = await LoadServer.start('app', { listen: '127.0.0.1:0' })
  world = { folder, app: app.address, identities: await makeIdentities(join(folder, 'identities')) }
})
after(() => {
  app.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** What the peer's chain negotiates when in this file of it a text is another. */
async function asked(peer: Peer, file?: string, from = '', to = '') {
  const chain = await Chain.open(peer, world)
  if (file !== undefined) {
    const path = join(folder, peer.name, file)
    const text = readFileSync(path, 'utf8')
    assert.ok(text.includes(from), `${from} in\n${text}`)
    writeFileSync(path, text.replace(from, to))
  }
  try {
    return await chain.assertNegotiated()
  } finally {
    await chain.close()
  }
}

for (const peer of [native, javascript, haproxy, nginx])
  test(`${peer.title} as the bench sets it up is TLS 1.3 with certificates both ways`, async () => {
    const negotiated = await asked(peer)
    assert.equal(negotiated?.protocol, 'TLSv1.3')
    assert.match(negotiated?.cipher ?? '', /^TLS_/)
  })

const wrong = [
  {
    what: 'a server that asks for no certificate',
    how: [haproxy, 'b.cfg', 'verify required', 'verify none'],
    said: 'sidecar B: got an answer without a client certificate, expected none',
  },
  {
    what: 'a server that takes any certificate',
    how: [nginx, 'b.conf', 'ssl_verify_client on', 'ssl_verify_client optional_no_ca'],
    said: 'sidecar B: got an answer without a client certificate, expected none',
  },
  {
    what: 'a client that speaks TLS 1.2',
    how: [nginx, 'a.conf', 'proxy_ssl_protocols TLSv1.3', 'proxy_ssl_protocols TLSv1.2'],
    said: 'sidecar A: got TLSv1.2, expected TLSv1.3',
  },
  {
    what: 'a client that takes any server',
    how: [nginx, 'a.conf', 'proxy_ssl_verify on', 'proxy_ssl_verify off'],
    said: "sidecar A: got a stranger's certificate taken, expected a connection that fails",
  },
  {
    what: 'a client without a certificate',
    how: [haproxy, 'a.cfg', / crt \S*web\.pem/, ''],
    said: 'sidecar A: got no client certificate, expected one that its CA has signed',
  },
  {
    what: 'a client that resumes sessions',
    how: [haproxy, 'a.cfg', ' no-ssl-reuse', ''],
    said: 'sidecar A: got a resumed session, expected a full handshake each time',
  },
] as const

for (const { what, how, said } of wrong)
  test(`${what} is noticed`, async () => {
    const [peer, file, from, to] = how
    const line = typeof from === 'string' ? from : (from.exec(await configOf(peer, file))?.[0] ?? '')
    await assert.rejects(asked(peer, file, line, to), error => {
      assert.ok(error instanceof WrongSetup)
      assert.equal(error.message, said)
      return true
    })
  })

test('a chain that is to resume its sessions is told from one that does not', async () => {
  const resuming = { ...haproxy, resumes: true } as const
  assert.equal((await asked(resuming, 'a.cfg', ' no-ssl-reuse', ''))?.protocol, 'TLSv1.3')
  await assert.rejects(asked(resuming), {
    message: 'sidecar A: got a full handshake each time, expected a resumed session',
  })
})

async function configOf(peer: Peer, file: string): Promise<string> {
  await (await Chain.open(peer, world)).close()
  return readFileSync(join(folder, peer.name, file), 'utf8')
}
