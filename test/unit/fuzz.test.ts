// What a peer writes is hostile: random names in certificates and random identities, from a seed that a failure prints.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import test from 'node:test'
import { SidespliceError } from '../../src/errors.ts'
import { issueCertificate } from '../../src/identity/issue.ts'
import { parseSpiffeId, parseSpiffePattern } from '../../src/identity/spiffe-id.ts'
import { uriSans } from '../../src/identity/uri-sans.ts'
import { mesh } from '../support/pki.ts'

const seed = Number(process.env.SIDESPLICE_FUZZ_SEED ?? Date.now() % 1_000_000)
const pieces = [
  'spiffe://',
  'mesh.test',
  '/svc/',
  'web',
  'URI:',
  ', ',
  ',',
  '"',
  '\\',
  '\\"',
  ':',
  ' ',
  '*',
  '..',
  '%41',
  '%',
  'DNS:',
  '\n',
  '\t',
  '/',
  '~',
  '@',
  '#',
  '?',
]

function generator(from: number) {
  let state = from
  const next = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state % below
  }
  return { next, text: () => Array.from({ length: 1 + next(9) }, () => pieces[next(pieces.length)]).join('') }
}

test(`whatever names a certificate holds, its URI SANs are read as they are (seed ${seed})`, async () => {
  const { next, text } = generator(seed)
  const keys = mesh.web.keys
  for (let round = 0; round < 300; round++) {
    const uris = Array.from({ length: next(4) }, text)
    const dnsNames = Array.from({ length: next(3) }, text)
    const { certPem } = await issueCertificate({
      commonName: 'fuzz',
      issuer: mesh.root,
      uris,
      dnsNames,
      keys,
    })
    assert.deepEqual(uriSans(new X509Certificate(certPem)), uris, JSON.stringify({ uris, dnsNames }))
  }
})

test(`no text passes for a SPIFFE ID that is none (seed ${seed})`, () => {
  const { text } = generator(seed)
  const form = /^spiffe:\/\/[a-z0-9._-]+(\/([A-Za-z0-9._-]|%[0-9A-Fa-f]{2})+)+$/
  let taken = 0
  for (let round = 0; round < 100_000; round++) {
    const candidate = `spiffe://mesh.test/${text()}`
    for (const parse of [parseSpiffeId, parseSpiffePattern]) {
      try {
        parse(candidate)
        if (parse === parseSpiffeId) {
          taken++
          assert.match(candidate, form)
          assert.ok(!/\/\.{1,2}(\/|$)/.test(candidate), candidate)
        }
      } catch (error) {
        assert.ok(
          error instanceof SidespliceError && error.code === 'bad_spiffe_id',
          `${JSON.stringify(candidate)}: ${error}`,
        )
      }
    }
  }
  assert.ok(taken > 1_000, `${taken} were taken`)
})
