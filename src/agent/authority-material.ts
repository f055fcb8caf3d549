// What a CA is made of: its roots, made here or given by an operator, and what of its configuration is good.
import { createHash, createPrivateKey, randomUUID, X509Certificate } from 'node:crypto'
import type { Json } from '../consul/shape.ts'
import { type IssuedCertificate, issueCertificate, loadIssuer } from '../identity/issue.ts'
import { formatDuration, parseDuration } from './duration.ts'
import { Refusal } from './refusal.ts'
import type { RootRow } from './rows.ts'

const hourMs = 3_600_000
const yearMs = 365 * 24 * hourMs
// Consul's: 72 hours, at least one, at most a year. The product lets tests and labs go down to seconds.
export const defaultLeafTtlMs = 72 * hourMs
const leastLeafTtlMs = 2_000
const rootYears = 10
/** Whether a configuration brings a root of its own. */
export function isGiven({ PrivateKey, RootCert }: Json): boolean {
  return PrivateKey !== undefined || RootCert !== undefined
}

/** @throws Refusal where the key or the root is no good */
export async function givenRoot(
  { PrivateKey, RootCert }: Json,
  trustDomain: string,
  now: number,
): Promise<IssuedCertificate> {
  const [keyPem, certPem] = [String(PrivateKey ?? ''), String(RootCert ?? '')]
  const certificate = refusing('RootCert', 'one PEM certificate', () => new X509Certificate(certPem))
  const key = refusing('PrivateKey', 'an EC key on P-256 in PEM', () => {
    const parsed = createPrivateKey(keyPem)
    if (parsed.asymmetricKeyDetails?.namedCurve !== 'prime256v1') throw new Error('another kind of key')
    return parsed
  })
  if (!certificate.checkPrivateKey(key)) throw bad('PrivateKey', 'the key of RootCert')
  if (!certificate.ca) throw bad('RootCert', 'a CA certificate (CA:TRUE)')
  if (Date.parse(certificate.validTo) <= now) throw bad('RootCert', 'one that has not expired')
  const uris = certificate.subjectAltName ?? ''
  if (!uris.split(', ').includes(`URI:spiffe://${trustDomain}`))
    throw bad('RootCert', `a URI SAN spiffe://${trustDomain}`)
  return loadIssuer(certPem, key)
}

export function newRoot(trustDomain: string): Promise<IssuedCertificate> {
  const word = randomUUID().slice(0, 7)
  return issueCertificate({
    commonName: `pri-${word}.consul.ca.${trustDomain.slice(0, 8)}.consul`,
    ca: true,
    uris: [`spiffe://${trustDomain}`],
    notAfter: new Date(Date.now() + rootYears * yearMs),
  })
}

export function rootRow(issuer: IssuedCertificate, intermediatePems: readonly string[]): RootRow {
  return {
    ID: rootId(issuer.certPem),
    Name: 'Consul CA Root Cert',
    certPem: issuer.certPem,
    intermediatePems,
    active: true,
    keyPem: issuer.keyPem,
  }
}

/** SHA-1 of the certificate, colon hex, as Consul names roots. */
export function rootId(certPem: string): string {
  const digest = createHash('sha1').update(new X509Certificate(certPem).raw).digest('hex')
  return digest.replace(/..(?=.)/g, '$&:')
}

/** @returns undefined where none is given */
export function leafTtlOf({ LeafCertTTL: value }: Json): number | undefined {
  if (value === undefined || value === '') return undefined
  const ms = parseDuration(value)
  if (ms === undefined || ms < leastLeafTtlMs || ms > yearMs)
    throw bad('LeafCertTTL', `${formatDuration(leastLeafTtlMs)} to ${formatDuration(yearMs)}`)
  return ms
}

/** `72h` for what Go would print as `72h0m0s`, as Consul's configuration has it. */
export function shortDuration(ms: number): string {
  return formatDuration(ms)
    .replace(/(?<=[hm])0s$/, '')
    .replace(/(?<=h)0m$/, '')
}

export function commonNameOf(service: string): string {
  // A subject is not looked at by anybody; what could be read as another attribute stays out of it, and 64 characters are its bound.
  return service.replace(/[^A-Za-z0-9_-]/g, '-').slice(0, 36)
}

export function earliest(one: Date, other: Date): Date {
  return one < other ? one : other
}

function refusing<T>(key: string, expected: string, read: () => T): T {
  try {
    return read()
  } catch {
    throw bad(key, expected)
  }
}

/** What was got may be a key, and is not repeated. */
function bad(key: string, expected: string): Refusal {
  return new Refusal(400, `CA configuration: ${key}: expected ${expected}`)
}
