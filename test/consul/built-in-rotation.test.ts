// Section 12, scenario 10, with Consul's built-in proxy on one end: another CA while connections come and go.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fetchLeaf, fetchRoots } from '../support/agent-certificates.ts'
import { startConsul } from '../support/consul-agent.ts'
import { startMixedPair } from '../support/mixed-pair.ts'
import { issue } from '../support/pki.ts'
import { presentedBy } from '../support/tls-hello.ts'
import { tlsConnect } from '../support/tls-peers.ts'

// A leaf follows within half a minute, at random.
const limitMs = 60_000

test('an exchange of the CA costs no connection; both ends present leaf and cross-signed CA behind it, and let in by the old root too', async t => {
  const agent = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const [toBuiltIn, toSidesplice] = [pair.toBuiltIn(), pair.toSidesplice()]
  await toBuiltIn.echoes('before')
  await toSidesplice.echoes('before')
  const former = { web: await fetchLeaf(agent, 'web'), db: await fetchLeaf(agent, 'db') }
  assert.deepEqual(
    (await presented()).map(({ length }) => length),
    [1, 1],
  )
  const { trustDomain } = await fetchRoots(agent)
  const ca = await issue({ commonName: 'next CA', ca: true, uris: [`spiffe://${trustDomain}`] })
  await agent.call('PUT', '/v1/connect/ca/configuration', {
    Provider: 'consul',
    Config: { PrivateKey: ca.sec1Pem, RootCert: ca.certPem },
  })

  let connections = 0
  const deadlineAt = performance.now() + limitMs
  for (let rotated = false; !rotated && performance.now() < deadlineAt; ) {
    for (const open of [pair.toBuiltIn, pair.toSidesplice]) {
      const client = open()
      await client.echoes('hello')
      client.socket.end()
      await client.ends()
      connections++
    }
    rotated = (await presented()).every(({ length }) => length === 2)
  }
  t.diagnostic(`${connections} connections meanwhile`)
  assert.deepEqual(
    (await presented()).map(({ length }) => length),
    [2, 2],
  )
  await pair.toBuiltIn().echoes('hello')
  await pair.toSidesplice().echoes('hello')
  // Somebody else's leaf may follow later.
  const root = await fetchRoots(agent)
  await tlsConnect(t, pair.web.publicListener, { root, certificate: former.db }).echoes('hello')
  await tlsConnect(t, pair.db.publicListener, { root, certificate: former.web }).echoes('hello')
  await toBuiltIn.echoes(' and after')
  await toSidesplice.echoes(' and after')

  function presented() {
    return Promise.all([pair.web, pair.db].map(end => presentedBy(end.publicListener, former.web)))
  }
})
