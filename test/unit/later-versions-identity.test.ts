// Roots and leaf as Consul 1.9 to 1.20 tell them.
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { IdentityFollower } from '../../src/consul/identity-follower.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { Era } from '../support/consul-eras.ts'
import {
  type IssuedCertificate,
  issue,
  issueIntermediates,
  issueLeaf,
  issueRoot,
  mesh,
} from '../support/pki.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'
import { paths } from '../support/written-services.ts'

const era = new Era(20)

interface Pki {
  readonly roots?: readonly IssuedCertificate[]
  readonly intermediate?: IssuedCertificate
  readonly leaf: IssuedCertificate
  /** More fields of the answers. */
  readonly moreLeaf?: object
  readonly moreRoots?: object
}

async function follow(t: TestContext, pki: Pki, from = era) {
  const agent = await startWrittenMesh(t, from.options)
  const say = ({ roots = [mesh.root], intermediate, leaf, moreLeaf, moreRoots }: Pki) => {
    agent.say(paths.roots, { by: 'index', body: { ...from.roots(roots, intermediate), ...moreRoots } })
    agent.say(paths.leaf('web'), { by: 'index', body: { ...from.leaf('web', leaf), ...moreLeaf } })
  }
  say(pki)
  const taken: Identity[] = []
  const refused: string[] = []
  const stop = new AbortController()
  t.after(() => stop.abort())
  void new IdentityFollower({
    client: agent.client(t),
    service: 'web',
    onIdentity: identity => taken.push(identity),
    onRefused: error => refused.push(error.code),
    onFailure: error => refused.push(error.code),
    onContact: () => {},
    signal: stop.signal,
  }).run()
  return { agent, say, taken, refused }
}

const uri = 'spiffe://mesh.test/ns/default/dc/dc1/svc/web'

// Leaves of 1.13 have `X509v3 Subject Alternative Name: critical` (seen in the notes of somebody who printed one), which Go's x509 writes
// where there is no subject (RFC 5280 section 4.2.1.6).
test('a leaf without a subject, its URI SAN critical, is taken', async t => {
  const leaf = await issueLeaf('web', mesh.root, { commonName: '' })
  assert.equal(leaf.certificate.subject, '')
  const { taken, refused } = await follow(t, { leaf })
  assert.equal((await until(() => taken[0], 'the identity')).leaf.id.uri, uri)
  assert.deepEqual(refused, [])
})

test('fields of Enterprise and of agents (Namespace, Partition, AgentURI, ServerURI, Kind) change nothing', async t => {
  const moreLeaf = { Namespace: 'default', Partition: 'default', AgentURI: '', ServerURI: '', Kind: '' }
  const { taken } = await follow(t, { leaf: mesh.web, moreLeaf, moreRoots: { Tomorrow: null } })
  assert.equal((await until(() => taken[0], 'the identity')).leaf.id.uri, uri)
})

test('a serial of 64 bits, beyond what a number can hold, is passed over', async t => {
  const { agent, taken } = await follow(t, { leaf: mesh.web })
  await until(() => taken[0], 'the identity')
  const text = await (await fetch(`http://${agent.address}${paths.roots}`)).text()
  assert.match(text, /"SerialNumber":9223372036854775807,/)
})

// Vault and AWS as CA: no SPIFFE ID in their roots (agent/connect/ca/provider_vault.go, provider_aws.go).
test('a root without a SPIFFE ID is trusted', async t => {
  const root = await issue({ commonName: 'Vault CA', ca: true })
  const { taken } = await follow(t, { roots: [root], leaf: await issueLeaf('web', root) })
  assert.equal((await until(() => taken[0], 'the identity')).trust.roots.length, 1)
})

test('a leaf below an intermediate, which the root lists as well, is taken with its whole chain', async t => {
  const intermediate = await issueIntermediates(mesh.root, 1)
  const { taken } = await follow(t, { intermediate, leaf: await issueLeaf('web', intermediate) })
  const { leaf, trust } = await until(() => taken[0], 'the identity')
  assert.equal(leaf.chainPem.match(/BEGIN CERTIFICATE/g)?.length, 2)
  // What only links is no root.
  assert.equal(trust.roots.length, 1)
})

for (const order of ['before', 'behind'] as const) {
  test(`roots that are not active are trusted too: listed ${order} the active one`, async t => {
    const old = await issueRoot('old')
    const roots = order === 'before' ? [old, mesh.root] : [mesh.root, old]
    const { taken } = await follow(t, { roots, leaf: mesh.web })
    assert.equal((await until(() => taken[0], 'the identity')).trust.roots.length, 2)
  })
}

test('roots of null, as where the CA is not ready, are refused and what is known stays', async t => {
  const { agent, taken, refused } = await follow(t, { leaf: mesh.web })
  await until(() => taken.length === 1, 'the identity')
  agent.say(paths.roots, { by: 'index', body: { ActiveRootID: '', TrustDomain: 'mesh.test', Roots: null } })
  await until(() => refused.includes('agent_answer'), 'the refusal')
  assert.equal(taken.length, 1)
})

for (const [status, body, code] of [
  [403, 'Permission denied: provided token lacks permission \'service:write\' on "web"', 'agent_denied'],
  [429, 'rate limit reached, try again later', 'agent_refused'],
  [500, 'CA is uninitialized and unable to sign certificates yet', 'agent_refused'],
] as const) {
  test(`a leaf refused by ${status} is asked for again, and taken when it comes`, async t => {
    const agent = { leaf: mesh.web }
    const { agent: written, say, taken, refused } = await follow(t, agent)
    await until(() => taken.length === 1, 'the identity')
    written.say(paths.leaf('web'), { status, body })
    await until(() => refused.includes(code), 'the refusal')
    say({ leaf: await issueLeaf('web', mesh.root) })
    await until(() => taken.length === 2, 'the new leaf')
  })
}

for (const pretty of [new Era(9), new Era(20)]) {
  test(`JSON is read however it is set: Consul ${pretty.name}`, async t => {
    const { agent, taken } = await follow(t, { leaf: mesh.web }, pretty)
    await until(() => taken[0], 'the identity')
    const text = await (await fetch(`http://${agent.address}${paths.roots}`)).text()
    assert.equal(text.includes('\n    "ActiveRootID"'), pretty.minor < 17)
  })
}
