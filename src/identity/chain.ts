// Whether a leaf chains to a trusted root now, for a purpose. Used for our own leaf, and for a peer's when the roots changed
// while it was shaking hands; OpenSSL itself has verified every peer's chain before that.
import type { X509Certificate } from 'node:crypto'
import { SidespliceError } from '../errors.ts'

/** Extended key usages, RFC 5280 section 4.2.1.12. */
export const purposes = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' } as const
export type Purpose = keyof typeof purposes

/** Certificates between leaf and anchor, as OpenSSL's verify depth counts them. */
export const maxIntermediates = 4

export interface ChainQuestion {
  readonly leaf: X509Certificate
  /** What was presented beside the leaf, in any order. */
  readonly presented: readonly X509Certificate[]
  /** Any of them is an anchor, self-signed or not. */
  readonly roots: readonly X509Certificate[]
  readonly now: number
  readonly purposes: readonly Purpose[]
}

/**
 * @returns how many intermediates stand between leaf and anchor
 * @throws SidespliceError `not_yet_valid`, `expired`, `ca_as_leaf`, `wrong_purpose`, `untrusted`
 */
export function verifyChain(question: ChainQuestion): number {
  const { leaf, now } = question
  requireValidity(leaf, now)
  requireLeaf(leaf, question.purposes)
  const depth = findAnchor(leaf, question, 0)
  if (depth === undefined) {
    throw fault(
      'untrusted',
      `no trusted root issued it; its issuer is ${oneLine(leaf.issuer)}, ${question.roots.length} roots are trusted`,
    )
  }
  return depth
}

/**
 * A leaf is no CA, and where it lists extended key usages the one for its role is among them (RFC 5280 section 4.2.1.12).
 * @throws SidespliceError `ca_as_leaf`, `wrong_purpose`
 */
export function requireLeaf(leaf: X509Certificate, wanted: readonly Purpose[]): void {
  if (leaf.ca) throw fault('ca_as_leaf', 'got a CA certificate, expected a leaf')
  // Node's typings say string[]; a certificate without the extension gives undefined.
  const usages = leaf.keyUsage as readonly string[] | undefined
  for (const purpose of wanted) {
    if (usages !== undefined && !usages.includes(purposes[purpose])) {
      throw fault(
        'wrong_purpose',
        `got extended key usages ${usages.join(', ')}, expected ${purpose}Auth among them`,
      )
    }
  }
}

/** @throws SidespliceError `not_yet_valid`, `expired` */
export function requireValidity(certificate: X509Certificate, now: number): void {
  if (now < Date.parse(certificate.validFrom))
    throw fault('not_yet_valid', `valid from ${certificate.validFrom}`)
  if (now > Date.parse(certificate.validTo)) throw fault('expired', `expired ${certificate.validTo}`)
}

function findAnchor(
  certificate: X509Certificate,
  question: ChainQuestion,
  depth: number,
): number | undefined {
  const issuers = (candidates: readonly X509Certificate[]) =>
    candidates.filter(issuer => isValid(issuer, question.now) && issuedBy(certificate, issuer))
  if (issuers(question.roots).length > 0) return depth
  if (depth >= maxIntermediates) return undefined
  for (const issuer of issuers(question.presented)) {
    if (!issuer.ca || issuer.fingerprint256 === certificate.fingerprint256) continue
    const found = findAnchor(issuer, question, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}

function issuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  // checkIssued compares names and key usage only; the signature is the proof.
  if (!certificate.checkIssued(issuer)) return false
  try {
    return certificate.verify(issuer.publicKey)
  } catch {
    // A key of a type that cannot have made this signature.
    return false
  }
}

function isValid(certificate: X509Certificate, now: number): boolean {
  return now >= Date.parse(certificate.validFrom) && now <= Date.parse(certificate.validTo)
}

function oneLine(name: string): string {
  return name.replaceAll('\n', ', ')
}

function fault(code: string, message: string): SidespliceError {
  return new SidespliceError(message, { source: 'identity', code })
}
