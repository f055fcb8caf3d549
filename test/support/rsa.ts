// RSA keys of any size at once: of Mersenne primes, which everybody knows and nobody has to look for.
import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { mesh, spiffeId } from './pki.ts'
import { firstBodyLine, noteSecret } from './secrets.ts'

const publicExponent = 65_537n
const hash = 'SHA-256'
const hourMs = 3_600_000

/** Exponents of primes whose product has about this many bits. */
export const rsaSizes = { 4484: [2_203, 2_281], 15636: [4_423, 11_213] } as const

/** A leaf of web in the mesh. */
export async function issueRsaLeaf(exponents: readonly [number, number]) {
  const key = mersenneKey(exponents)
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const publicKey = await webcrypto.subtle.importKey(
    'spki',
    spki,
    { name: 'RSASSA-PKCS1-v1_5', hash },
    true,
    ['verify'],
  )
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '0107',
    subject: 'CN=web',
    issuer: mesh.root.certificate.subject,
    notBefore: new Date(Date.now() - hourMs),
    notAfter: new Date(Date.now() + hourMs),
    publicKey: publicKey as never,
    signingKey: mesh.root.keys.privateKey as never,
    signingAlgorithm: { name: 'ECDSA', hash },
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: spiffeId('web') }])],
  })
  const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString()
  noteSecret(firstBodyLine(keyPem))
  return { chainPem: `${certificate.toString('pem')}\n`, keyPem }
}

/** A private key of two of the primes 2^x - 1. */
function mersenneKey(exponents: readonly [number, number]): KeyObject {
  const [p, q] = exponents.map(exponent => 2n ** BigInt(exponent) - 1n) as [bigint, bigint]
  const d = inverse(publicExponent, (p - 1n) * (q - 1n))
  const numbers = {
    n: p * q,
    e: publicExponent,
    d,
    p,
    q,
    dp: d % (p - 1n),
    dq: d % (q - 1n),
    qi: inverse(q, p),
  }
  const jwk: JsonWebKey = {
    kty: 'RSA',
    ...Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, encoded(number)])),
  }
  return createPrivateKey({ key: jwk, format: 'jwk' })
}

function encoded(number: bigint): string {
  const hex = number.toString(16)
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url')
}

/** By Euclid. */
function inverse(of: bigint, modulus: bigint): bigint {
  let [a, b, x, y] = [of % modulus, modulus, 1n, 0n]
  while (a !== 0n) {
    const times = b / a
    ;[a, b, x, y] = [b - times * a, a, y - times * x, x]
  }
  return ((y % modulus) + modulus) % modulus
}
