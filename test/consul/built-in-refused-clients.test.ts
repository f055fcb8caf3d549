// Section 12, scenarios 12 and 14, with Consul's built-in proxy on one end: peers that have no business here.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import { fetchLeaf, fetchRoots } from '../support/agent-certificates.ts'
import { startBuiltIn } from '../support/built-in.ts'
import { startConsul } from '../support/consul-agent.ts'
import { connect, type End, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { catalogHas, knowsEndpoints, type MixedEnd, passing, startMixedPair } from '../support/mixed-pair.ts'
import { issue, spiffeId } from '../support/pki.ts'
import { planeOf } from '../support/sidecar-planes.ts'
import { tlsConnect } from '../support/tls-peers.ts'

const native = planeOf('dialing').dataPlane === 'native'

test('no certificate, a foreign CA and TLS 1.1 are refused by both ends; the built-in has dialed its app for each of them', async t => {
  const agent = await startConsul(t)
  const elsewhere = await startConsul(t)
  const pair = await startMixedPair(t, agent)
  const root = await fetchRoots(agent)
  const certificate = await fetchLeaf(agent, 'db')
  const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  const cases = [
    { peer: { root }, bySidesplice: /ALERT_CERTIFICATE_REQUIRED$/, byBuiltIn: /ALERT_BAD_CERTIFICATE$/ },
    // Node closes without an alert where OpenSSL had nothing against the handshake itself.
    {
      peer: { root, certificate: await fetchLeaf(elsewhere, 'db') },
      bySidesplice: native ? /ALERT_UNKNOWN_CA$/ : /^closed$/,
      byBuiltIn: /ALERT_BAD_CERTIFICATE$/,
    },
    {
      peer: { root, certificate, options: old },
      bySidesplice: /ALERT_PROTOCOL_VERSION$/,
      byBuiltIn: /ALERT_PROTOCOL_VERSION$/,
    },
  ]
  for (const { peer, bySidesplice, byBuiltIn } of cases) {
    assert.match(await refusal(tlsConnect(t, pair.web.publicListener, peer)), bySidesplice)
    assert.match(await refusal(tlsConnect(t, pair.db.publicListener, peer)), byBuiltIn)
  }
  assert.equal(pair.web.app.connections.length, 0)
  // The built-in's failure: app dialed before the handshake.
  await pair.db.app.connection(cases.length - 1)
  for (const { publicListener } of [pair.web, pair.db])
    await tlsConnect(t, publicListener, { root, certificate }).echoes('hello')
})

test('two clusters: authorize says yes to a leaf of the other one; both ends refuse its chain, dialing and dialed', async t => {
  const agent = await startConsul(t)
  const elsewhere = await startConsul(t)
  const ofWeb = await freePort()
  const pair = await startMixedPair(t, agent, {
    webUpstreams: [{ DestinationName: 'api', LocalBindPort: ofWeb.port }],
  })
  const { uri } = await fetchLeaf(elsewhere, 'api')
  const probe = { Target: 'web', ClientCertURI: uri, ClientCertSerial: '01' }
  const answer = await agent.call<{ Authorized: boolean }>('POST', '/v1/agent/connect/authorize', probe)
  assert.equal(answer.Authorized, true)

  const app = await openApp(t)
  const [listen, upstream] = [await freePort(), await freePort()]
  const builtIn = startBuiltIn(t, elsewhere, [
    ...['-service', 'api', '-service-addr', formatAddress(app.address), '-listen', formatAddress(listen)],
    ...['-upstream', `web:${formatAddress(upstream)}`],
  ])
  await builtIn.ready(listen.port)
  // Each catalog names the proxy of the other cluster.
  for (const { to, service, port } of [
    { to: agent, service: 'api', port: listen.port },
    { to: elsewhere, service: 'web', port: pair.web.publicListener.port },
  ]) {
    await to.register({
      Name: `${service}-proxy`,
      Kind: 'connect-proxy',
      Port: port,
      Proxy: { DestinationServiceName: service },
      Checks: passing,
    })
    await catalogHas(to, service, port)
  }
  await knowsEndpoints(pair.sidesplice, 'api', 1)

  assert.equal(await connect(t, ofWeb).fails(), 'ECONNRESET')
  const line = await pair.sidesplice.command.line('session ended')
  assert.match(line, / service=api .* peer_certificate_refused /)
  // The built-in's failure: app dialed before the handshake.
  await app.connection()

  // The built-in's failure: error told as an end.
  await connect(t, upstream).ends()
  await builtIn.line('certificate signed by unknown authority')
  assert.match(
    await pair.sidesplice.command.line('direction=inbound service=web downstream'),
    /alert bad_certificate/,
  )
  assert.equal(pair.web.app.connections.length, 0)
})

test("a leaf of a foreign trust domain that the mesh's own CA has signed is let in by the built-in; sidesplice refuses it", async t => {
  const agent = await startConsul(t)
  const { trustDomain } = await fetchRoots(agent)
  const root = await issue({ commonName: 'own CA', ca: true, uris: [`spiffe://${trustDomain}`] })
  await agent.call('PUT', '/v1/connect/ca/configuration', {
    Provider: 'consul',
    Config: { PrivateKey: root.sec1Pem, RootCert: root.certPem },
  })
  const pair = await startMixedPair(t, agent)
  const dial = async (end: MixedEnd, service: string, domain: string) => {
    const certificate = await issue({ commonName: service, issuer: root, uris: [spiffeId(service, domain)] })
    return tlsConnect(t, end.publicListener, { root, certificate })
  }
  await (await dial(pair.web, 'db', trustDomain)).echoes('hello')
  await (await dial(pair.db, 'web', trustDomain)).echoes('hello')

  const atSidesplice = await dial(pair.web, 'db', 'elsewhere.consul')
  await atSidesplice.isOver()
  await pair.sidesplice.command.line('reason=foreign_trust_domain')
  assert.deepEqual([atSidesplice.received, pair.web.app.connections.length], [0, 1])
  // The built-in's failure: foreign trust domain let in.
  await (await dial(pair.db, 'web', 'elsewhere.consul')).echoes('hello')
})

/** How a peer that got no byte was told. */
async function refusal(peer: End): Promise<string> {
  await peer.isOver()
  assert.equal(peer.received, 0)
  return peer.error ?? 'closed'
}
