import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import test from 'node:test'
import { Authority } from '../../src/agent/authority.ts'
import { rootsBody } from '../../src/agent/bodies.ts'
import { memoryStore } from '../../src/agent/database.ts'
import { Leaves } from '../../src/agent/leaves.ts'
import { State } from '../../src/agent/state.ts'
import { parseLeaf, parseTrustBundle } from '../../src/identity/identity.ts'
import { issueCertificate } from '../../src/identity/issue.ts'

async function newAuthority(now: () => number = Date.now) {
  const state = new State(memoryStore)
  const authority = new Authority(state, now)
  await authority.start()
  return { state, authority }
}

const trusting = (pems: readonly string[]) => parseTrustBundle(pems.join(''))

test('a leaf names its service by the SPIFFE ID of Consul, and is good for both roles', async () => {
  const { state, authority } = await newAuthority()
  const leaf = await new Leaves({ state, authority, datacenter: 'dc1' }).get('web')
  const trust = trusting(authority.roots().map(root => root.certPem))
  const parsed = parseLeaf({
    certPem: leaf.certPem,
    keyPem: Buffer.from(leaf.keyPem),
    trust,
    now: Date.now(),
  })
  assert.equal(parsed.id.uri, `spiffe://${authority.trustDomain}/ns/default/dc/dc1/svc/web`)
  assert.match(leaf.keyPem, /^-----BEGIN EC PRIVATE KEY-----/)
  const hours = (parsed.notAfterAt - Date.now()) / 3_600_000
  assert.ok(hours > 71.9 && hours <= 72, `${hours}`)
})

test('a leaf of a new root is verified by those who know the old root alone, and an old leaf by those who know both', async () => {
  const { authority } = await newAuthority()
  const uri = `spiffe://${authority.trustDomain}/ns/default/dc/dc1/svc/web`
  const before = { root: authority.active().certPem, leaf: await authority.issueLeaf('web', uri) }
  await authority.rotate()
  const after = { root: authority.active().certPem, leaf: await authority.issueLeaf('web', uri) }
  assert.notEqual(before.root, after.root)
  assert.equal(after.leaf.certPem.match(/BEGIN CERTIFICATE/g)?.length, 2)
  const verify = (leaf: { readonly certPem: string; readonly keyPem: string }, roots: readonly string[]) =>
    parseLeaf({
      certPem: leaf.certPem,
      keyPem: Buffer.from(leaf.keyPem),
      trust: trusting(roots),
      now: Date.now(),
    })
  verify(after.leaf, [before.root])
  verify(after.leaf, [after.root])
  verify(
    before.leaf,
    authority.roots().map(root => root.certPem),
  )
  assert.throws(() => verify(before.leaf, [after.root]))
})

test('after three rotations who knows the first root alone still verifies', async () => {
  const { authority } = await newAuthority()
  const first = authority.active().certPem
  for (let time = 0; time < 3; time++) await authority.rotate()
  const leaf = await authority.issueLeaf('web', `spiffe://${authority.trustDomain}/ns/default/dc/dc1/svc/web`)
  parseLeaf({
    certPem: leaf.certPem,
    keyPem: Buffer.from(leaf.keyPem),
    trust: trusting([first]),
    now: Date.now(),
  })
})

test('the key of the CA is in no answer, and that of a retired root is not kept', async () => {
  const { authority } = await newAuthority()
  await authority.rotate()
  const answers = JSON.stringify([
    rootsBody(authority.roots(), authority.trustDomain),
    authority.configuration(),
  ])
  assert.doesNotMatch(answers, /PRIVATE KEY/)
  assert.deepEqual(
    authority.roots().map(root => root.keyPem !== undefined),
    [true, false],
  )
})

test("an operator's own root and key sign from then on", async () => {
  const { authority } = await newAuthority()
  const own = await issueCertificate({
    commonName: 'own',
    ca: true,
    uris: [`spiffe://${authority.trustDomain}`],
  })
  await authority.configure({ PrivateKey: own.sec1Pem, RootCert: own.certPem, LeafCertTTL: '1h' })
  const leaf = await authority.issueLeaf('web', `spiffe://${authority.trustDomain}/ns/default/dc/dc1/svc/web`)
  const [presented = ''] = leaf.certPem.match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----/) ?? []
  assert.ok(new X509Certificate(presented).verify(new X509Certificate(own.certPem).publicKey))
  assert.equal((authority.configuration().Config as { LeafCertTTL: string }).LeafCertTTL, '1h')
  assert.equal(authority.roots().length, 2)
})

test('a root that is no good is refused, and the one in use stays', async () => {
  const { authority } = await newAuthority()
  const uris = [`spiffe://${authority.trustDomain}`]
  const good = await issueCertificate({ commonName: 'good', ca: true, uris })
  const leaf = await issueCertificate({ commonName: 'leaf', uris })
  const foreign = await issueCertificate({ commonName: 'foreign', ca: true, uris: ['spiffe://other.consul'] })
  const old = await issueCertificate({
    ...{ commonName: 'old', ca: true, uris },
    notBefore: new Date(Date.now() - 20_000),
    notAfter: new Date(Date.now() - 10_000),
  })
  const active = authority.active().ID
  for (const [config, expected] of [
    [{ PrivateKey: good.keyPem }, /RootCert: expected one PEM certificate/],
    [{ RootCert: good.certPem }, /PrivateKey: expected an EC key/],
    [{ PrivateKey: leaf.keyPem, RootCert: good.certPem }, /PrivateKey: expected the key of RootCert/],
    [{ PrivateKey: leaf.keyPem, RootCert: leaf.certPem }, /expected a CA certificate/],
    [{ PrivateKey: foreign.keyPem, RootCert: foreign.certPem }, /a URI SAN spiffe:/],
    [{ PrivateKey: old.keyPem, RootCert: old.certPem }, /not expired/],
    [{ LeafCertTTL: '1s' }, /LeafCertTTL/],
    [{ LeafCertTTL: 'long' }, /LeafCertTTL/],
  ] as const) {
    await assert.rejects(authority.configure(config), (error: Error) => {
      assert.match(error.message, expected)
      assert.ok(!error.message.includes('PRIVATE'), 'the key is not repeated')
      return true
    })
    assert.equal(authority.active().ID, active)
  }
  assert.ok(createPrivateKey(good.keyPem))
})

test('a leaf is renewed between 60 and 90 % of its life, and until then stays the same', async () => {
  for (const [random, share] of [
    [0, 0.6],
    [0.999_999, 0.9],
  ] as const) {
    let now = Date.now()
    const { state, authority } = await newAuthority(() => now)
    await authority.configure({ LeafCertTTL: '10h' })
    const leaves = new Leaves({ state, authority, datacenter: 'dc1', now: () => now, random: () => random })
    const madeAt = now
    const leaf = await leaves.get('web')
    assert.equal(await leaves.get('web'), leaf)
    assert.ok(Math.abs((leaf.renewAt - madeAt) / 36_000_000 - share) < 0.001)
    now = leaf.renewAt - 1
    assert.equal(await leaves.get('web'), leaf)
    now = leaf.renewAt
    const renewed = await leaves.get('web')
    assert.notEqual(renewed.serial, leaf.serial)
    assert.ok(renewed.index > leaf.index)
  }
})

test('roots that no living leaf was signed by are trusted no longer', async () => {
  let now = Date.now()
  const { authority } = await newAuthority(() => now)
  await authority.configure({ LeafCertTTL: '1h' })
  await authority.rotate()
  now += 2 * 3_600_000
  authority.prune()
  assert.equal(authority.roots().length, 2)
  now += 1_000
  authority.prune()
  assert.equal(authority.roots().length, 1)
})
