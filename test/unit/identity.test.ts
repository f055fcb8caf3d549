import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import test from 'node:test'
import { verifyChain } from '../../src/identity/chain.ts'
import { parseCertificates, parseLeaf, parseTrustBundle } from '../../src/identity/identity.ts'
import { uriSans } from '../../src/identity/uri-sans.ts'
import {
  type IssuedCertificate,
  issue,
  issueIntermediates,
  issueLeaf,
  issueRoot,
  mesh,
  spiffeId,
} from '../support/pki.ts'

const hourMs = 3_600_000
const foreign = await issueRoot('foreign')

function parse(
  leaf: IssuedCertificate,
  { roots = [mesh.root], key = leaf.keyPem, certPem = leaf.chainPem, now = Date.now() } = {},
) {
  const trust = parseTrustBundle(roots.map(root => root.certPem).join('some text between\n'))
  return parseLeaf({ certPem, keyPem: Buffer.from(key), trust, now })
}

test('a good leaf is taken with its whole bundle', async () => {
  const intermediate = await issueIntermediates(mesh.root, 2)
  const leaf = await issueLeaf('web', intermediate)
  const parsed = parse(leaf)
  assert.equal(parsed.id.uri, spiffeId('web'))
  assert.equal(parseCertificates(parsed.chainPem).length, 3)
})

test('any root of the bundle will do', async () => {
  assert.equal(parse(mesh.web, { roots: [foreign, mesh.root] }).id.uri, spiffeId('web'))
})

test('a root that is not self-signed is an anchor', async () => {
  const intermediate = await issueIntermediates(mesh.root, 1)
  const leaf = await issueLeaf('web', intermediate)
  assert.equal(parse(leaf, { roots: [intermediate], certPem: leaf.certPem }).id.uri, spiffeId('web'))
})

const refused: readonly [string, string, () => Promise<() => unknown>][] = [
  ['an expired leaf', 'expired', async () => () => parse(mesh.web, { now: Date.now() + 2 * hourMs })],
  ['a leaf of tomorrow', 'not_yet_valid', async () => () => parse(mesh.web, { now: Date.now() - hourMs })],
  ['a leaf of another root', 'untrusted', async () => () => parse(mesh.web, { roots: [foreign] })],
  ['the key of another leaf', 'key_mismatch', async () => () => parse(mesh.web, { key: mesh.db.keyPem })],
  ['a key that is none', 'bad_key', async () => () => parse(mesh.web, { key: 'no key' })],
  [
    'a certificate that is none',
    'bad_certificate',
    async () => () => parse(mesh.web, { certPem: 'no certificate' }),
  ],
  [
    'a certificate that does not parse',
    'bad_certificate',
    async () => () =>
      parse(mesh.web, { certPem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' }),
  ],
  [
    'a leaf that is a CA',
    'ca_as_leaf',
    async () => {
      const ca = await issue({
        commonName: 'ca',
        issuer: mesh.root,
        ca: true,
        uris: [spiffeId('web')],
        usages: ['server', 'client'],
      })
      return () => parse(ca, { certPem: ca.certPem })
    },
  ],
  [
    'a leaf for servers alone',
    'wrong_purpose',
    async () => {
      const leaf = await issueLeaf('web', mesh.root, { usages: ['server'] })
      return () => parse(leaf)
    },
  ],
  [
    'a leaf with two URI SANs',
    'bad_uri_sans',
    async () => {
      const leaf = await issueLeaf('web', mesh.root, { uris: [spiffeId('web'), spiffeId('db')] })
      return () => parse(leaf)
    },
  ],
  [
    'a leaf without a URI SAN',
    'bad_uri_sans',
    async () => {
      const leaf = await issueLeaf('web', mesh.root, { uris: [], dnsNames: ['web'] })
      return () => parse(leaf)
    },
  ],
  [
    'a leaf whose intermediate is missing',
    'untrusted',
    async () => {
      const leaf = await issueLeaf('web', await issueIntermediates(mesh.root, 1))
      return () => parse(leaf, { certPem: leaf.certPem })
    },
  ],
  [
    'a chain of five intermediates',
    'untrusted',
    async () => {
      const leaf = await issueLeaf('web', await issueIntermediates(mesh.root, 5))
      return () => parse(leaf)
    },
  ],
  [
    'a leaf that was issued by a leaf',
    'untrusted',
    async () => {
      const leaf = await issueLeaf('web', mesh.db)
      return () => parse(leaf)
    },
  ],
]
for (const [what, code, prepare] of refused) {
  test(`refused: ${what}`, async () => {
    assert.throws(await prepare(), { code })
  })
}

test('an issuer with the right name and another key is no issuer', async () => {
  const twin = await issueRoot()
  const leaf = new X509Certificate(mesh.web.certPem)
  const question = {
    leaf,
    presented: [],
    roots: [new X509Certificate(twin.certPem)],
    now: Date.now(),
    purposes: ['client'] as const,
  }
  assert.throws(() => verifyChain(question), { code: 'untrusted' })
  assert.equal(verifyChain({ ...question, roots: [new X509Certificate(mesh.root.certPem)] }), 0)
})

test('no error of a bad key holds the key', () => {
  const [, half = ''] = mesh.web.keyPem.split('\n')
  assert.throws(
    () => parse(mesh.web, { key: mesh.web.keyPem.replace('END', 'ENDE') }),
    (error: Error) => !error.message.includes(half),
  )
})

test('what looks like a URI SAN inside another name is none', async () => {
  const uri = 'spiffe://mesh.test/a'
  for (const dnsNames of [
    ['x, URI:spiffe://mesh.test/admin'],
    ['"URI:spiffe://mesh.test/admin'],
    ['x\\, URI:y', 'URI:z'],
  ]) {
    const leaf = await issueLeaf('web', mesh.root, { uris: [uri], dnsNames })
    assert.deepEqual(uriSans(new X509Certificate(leaf.certPem)), [uri], dnsNames.join())
  }
})

test('a URI SAN with punctuation is read as it is', async () => {
  const uris = [
    'spiffe://mesh.test/a, URI:spiffe://mesh.test/b',
    'spiffe://mesh.test/"quoted"',
    'spiffe://mesh.test/c',
  ]
  const leaf = await issueLeaf('web', mesh.root, { uris })
  assert.deepEqual(uriSans(new X509Certificate(leaf.certPem)), uris)
})
