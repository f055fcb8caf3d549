import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { describe, test } from 'node:test'
import { isFixed, type KernelFacts, useOfKernel } from '../../src/data-plane/native/kernel-tls.ts'
import { notOnKernelTls, onKernelTls } from '../ktls/files.ts'

const release = '6.18.3'
const good = { correct: true, speed: 1.1 }
const facts = (over: Partial<KernelFacts> = {}): KernelFacts => ({
  rekeys: true,
  ciphers: [good, good, good],
  ...over,
})
const use = (choice: 'auto' | 'on' | 'off', over: Partial<KernelFacts> = {}, of = release) => {
  const chosen = useOfKernel(choice, () => facts(over), of)
  assert.ok(!('unavailable' in chosen), 'it is available')
  return chosen
}

describe('kernel TLS, auto', () => {
  test('is taken where it is correct, fast and exchanges keys', () => {
    const { relay, ciphers, rekeys, warning } = use('auto')
    assert.deepEqual(
      { relay, ciphers, rekeys, warning },
      { relay: 'ktls-splice', ciphers: 0b111, rekeys: true, warning: undefined },
    )
  })

  test('leaves out a cipher that is slow, or wrong', () => {
    assert.equal(use('auto', { ciphers: [good, { correct: true, speed: 0.79 }, good] }).ciphers, 0b101)
    assert.equal(use('auto', { ciphers: [good, good, { correct: false, speed: 5 }] }).ciphers, 0b011)
  })

  const refusals: readonly (readonly [
    title: string,
    over: Partial<KernelFacts>,
    release: string,
    why: RegExp,
  ])[] = [
    ['where there is none', { why: 'this kernel has no TLS' }, release, /^this kernel has no TLS$/],
    ['where it can not exchange keys', { rekeys: false }, release, /can not exchange keys/],
    [
      'where it is slow',
      {
        ciphers: [
          { correct: true, speed: 0.03 },
          { correct: true, speed: 0.02 },
          { correct: true, speed: 0.5 },
        ],
      },
      release,
      /slow: AES-128-GCM 0\.03/,
    ],
    ['where a splice into it corrupts memory', {}, '6.1.176', /CVE-2024-0646/],
    ['where data may go from under it', {}, '6.16.1', /CVE-2025-38616/],
  ]
  for (const [title, over, of, why] of refusals)
    test(`is not taken ${title}`, () => {
      const chosen = use('auto', over, of)
      assert.equal(chosen.relay, 'records')
      assert.equal(chosen.ciphers, 0)
      assert.match(chosen.why, why)
    })
})

describe('kernel TLS, on', () => {
  test('is taken although it is slow, and in a kernel of a known bug', () => {
    const slow = { correct: true, speed: 0.01 }
    assert.equal(use('on', { ciphers: [slow, slow, slow] }, '6.1.0').ciphers, 0b111)
  })

  test('warns where keys can not be exchanged', () => {
    const { relay, rekeys, warning } = use('on', { rekeys: false })
    assert.equal(relay, 'ktls-splice')
    assert.equal(rekeys, false)
    assert.match(warning ?? '', /KeyUpdate/)
  })

  test('can not be had where there is none, and says why', () => {
    assert.deepEqual(
      useOfKernel('on', () => facts({ why: 'this kernel has no TLS' }), release),
      {
        unavailable: 'this kernel has no TLS',
      },
    )
  })
})

test('kernel TLS, off, is not even probed', () => {
  const chosen = useOfKernel('off', () => assert.fail('it was probed'), release)
  assert.ok('relay' in chosen && chosen.relay === 'records')
})

test('a release is fixed by its own series, or past the last one', () => {
  const fixedIn = ['6.6.103', '6.12.43', '6.16.2']
  const rows = {
    '6.6.102': false,
    '6.6.103': true,
    '6.12.43-cloud': true,
    '6.12.0': false,
    '6.14.9': false,
    '6.16.2': true,
    '6.17.0-rc1': true,
    '7.0': true,
    '5.15.200': false,
    nonsense: false,
  }
  for (const [of, fixed] of Object.entries(rows)) assert.equal(isFixed(of, fixedIn), fixed, of)
})

test('each file of the conformance suite runs on kernel TLS, or is left out for a reason', () => {
  const files = readdirSync(new URL('../conformance', import.meta.url)).map(name =>
    name.replace('.test.ts', ''),
  )
  assert.deepEqual([...onKernelTls, ...Object.keys(notOnKernelTls)].sort(), files.sort())
})
