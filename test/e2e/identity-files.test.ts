// A certificate, key or root file that would not work is refused before anything runs, and named.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { check } from '../support/check.ts'
import { issue, issueIntermediates, issueLeaf, issueRoot, mesh, spiffeId } from '../support/pki.ts'
import type { Folder } from '../support/running-sidecar.ts'

const minuteMs = 60_000
const leafRule = 'expected a leaf with one SPIFFE ID that fits the key, is valid now and chains to ca_file'
const other = await issueLeaf('other', mesh.root)
const foreign = await issueLeaf('web', await issueRoot('foreign'))
const expired = await issueLeaf('web', mesh.root, {
  notBefore: at(-10 * minuteMs),
  notAfter: at(-minuteMs),
})
const early = await issueLeaf('web', mesh.root, { notBefore: at(minuteMs), notAfter: at(10 * minuteMs) })
const nameless = await issue({ commonName: 'web', issuer: mesh.root })
const twoNames = await issueLeaf('web', mesh.root, { uris: [spiffeId('web'), spiffeId('api')] })
const clientOnly = await issueLeaf('web', mesh.root, { usages: ['client'] })
const intermediate = await issueIntermediates(mesh.root, 1)
const below = await issueLeaf('web', intermediate)

interface Case {
  readonly title: string
  readonly prepare: (folder: Folder) => Promise<unknown>
  readonly problem: RegExp
}

const cases: readonly Case[] = [
  {
    title: 'a key of another certificate',
    prepare: folder => folder.write('leaf.key', other.keyPem),
    problem:
      /^leaf\.pem: identity\.cert_file: got key_mismatch \(the private key is not the one of this certificate\), /,
  },
  {
    title: 'an expired leaf',
    prepare: folder => folder.writeIdentity(expired, mesh.root),
    problem: /^leaf\.pem: identity\.cert_file: got expired \(expired .* GMT\), /,
  },
  {
    title: 'a leaf that is not valid yet',
    prepare: folder => folder.writeIdentity(early, mesh.root),
    problem: /^leaf\.pem: identity\.cert_file: got not_yet_valid \(valid from .* GMT\), /,
  },
  {
    title: 'a leaf of a foreign CA',
    prepare: folder => folder.writeIdentity(foreign, mesh.root),
    problem:
      /^leaf\.pem: identity\.cert_file: got untrusted \(no trusted root issued it; its issuer is CN=foreign, 1 roots are trusted\), /,
  },
  {
    title: 'a leaf without its intermediate',
    prepare: async folder => {
      await folder.writeIdentity(below, mesh.root)
      await folder.write('leaf.pem', below.certPem)
    },
    problem: /^leaf\.pem: identity\.cert_file: got untrusted \(/,
  },
  {
    title: 'a leaf without a SPIFFE ID',
    prepare: folder => folder.writeIdentity(nameless, mesh.root),
    problem: /^leaf\.pem: identity\.cert_file: got bad_uri_sans \(0 URI SANs instead of one SPIFFE ID\), /,
  },
  {
    title: 'a leaf with two SPIFFE IDs',
    prepare: folder => folder.writeIdentity(twoNames, mesh.root),
    problem: /^leaf\.pem: identity\.cert_file: got bad_uri_sans \(2 URI SANs /,
  },
  {
    title: 'a leaf for one role alone',
    prepare: folder => folder.writeIdentity(clientOnly, mesh.root),
    problem: /^leaf\.pem: identity\.cert_file: got wrong_purpose \(/,
  },
  {
    title: 'a CA certificate as leaf',
    prepare: folder => folder.writeIdentity(mesh.root, mesh.root),
    problem: /^leaf\.pem: identity\.cert_file: got ca_as_leaf \(got a CA certificate, expected a leaf\), /,
  },
  {
    title: 'a certificate file that holds none',
    prepare: folder => folder.write('leaf.pem', 'no certificate\n'),
    problem: /^leaf\.pem: identity\.cert_file: got bad_certificate \(no PEM certificate in it\), /,
  },
  {
    title: 'a certificate file that is cut off',
    prepare: folder => folder.write('leaf.pem', mesh.web.certPem.slice(0, 300)),
    problem: /^leaf\.pem: identity\.cert_file: got bad_certificate \(/,
  },
]

describe('refused', { concurrency: 3 }, () => {
  for (const { title, prepare, problem } of cases) {
    test(title, async t => {
      const checked = await check(t, {}, { prepare })
      assert.equal(checked.problems.length, 1, checked.problems.join('\n'))
      assert.match(checked.problems[0] ?? '', problem)
      assert.ok(checked.problems[0]?.endsWith(leafRule), checked.problems[0])
      assert.deepEqual([checked.code, checked.stdout], [1, ''])
    })
  }

  test('a key file that holds none', async t => {
    const checked = await check(t, {}, { prepare: folder => folder.write('leaf.key', 'no key\n') })
    assert.deepEqual(checked.problems, [
      'leaf.key: identity.key_file: got bad_key (no PEM private key that parses), expected a PEM private key without a passphrase',
    ])
  })

  test('a root file that holds none', async t => {
    const checked = await check(t, {}, { prepare: folder => folder.write('ca.pem', '') })
    assert.deepEqual(checked.problems, [
      'ca.pem: identity.ca_file: got bad_certificate (no PEM certificate in it), expected PEM certificates',
    ])
  })

  test('files that are not there, all of them at once', async t => {
    const identity = { cert_file: 'a.pem', key_file: 'b.key', ca_file: 'sub/c.pem' }
    const checked = await check(t, { identity })
    assert.deepEqual([...checked.problems].sort(), [
      'a.pem: identity.cert_file: got ENOENT, expected a file that can be read',
      'b.key: identity.key_file: got ENOENT, expected a file that can be read',
      'sub/c.pem: identity.ca_file: got ENOENT, expected a file that can be read',
    ])
  })
})

describe('accepted', { concurrency: 3 }, () => {
  test('a leaf with its intermediate', async t => {
    assert.deepEqual((await check(t, {}, { leaf: below })).problems, [])
  })

  test('several roots, of which one has issued the leaf', async t => {
    const roots = [await issueRoot('older'), mesh.root, await issueRoot('newer')]
    assert.deepEqual((await check(t, {}, { roots })).problems, [])
  })

  test('text around the PEM blocks', async t => {
    const prepare = (folder: Folder) => folder.write('leaf.pem', `web, by hand\n${mesh.web.certPem}\nend\n`)
    assert.deepEqual((await check(t, {}, { prepare })).problems, [])
  })

  test('absolute paths', async t => {
    const checked = await check(
      t,
      {},
      {
        prepare: folder =>
          folder.writeConfig({
            identity: {
              cert_file: folder.file('leaf.pem'),
              key_file: folder.file('leaf.key'),
              ca_file: folder.file('ca.pem'),
            },
          }),
      },
    )
    assert.deepEqual(checked.problems, [])
  })
})

function at(fromNowMs: number): Date {
  return new Date(Date.now() + fromNowMs)
}
