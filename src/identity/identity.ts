// What a sidecar is: its leaf certificate with the chain behind it, the key, and the roots that it trusts.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { SidespliceError } from '../errors.ts'
import { verifyChain } from './chain.ts'
import { parseSpiffeId, type SpiffeId } from './spiffe-id.ts'
import { uriSans } from './uri-sans.ts'

/** A leaf that was checked: its key fits, it is valid now, it chains to the roots it came with. */
export interface LeafCertificate {
  readonly id: SpiffeId
  /** The whole bundle in PEM, leaf first: what is presented in a handshake. */
  readonly chainPem: string
  /** PEM. Never logged, never put into an answer. */
  readonly privateKey: Buffer
  readonly serial: string
  readonly fingerprint: string
  readonly notBeforeAt: number
  readonly notAfterAt: number
}

/** Every root is trusted, none pinned. `digest` changes when the set does. */
export interface TrustBundle {
  readonly roots: readonly X509Certificate[]
  readonly pem: string
  readonly digest: string
}

export interface Identity {
  readonly leaf: LeafCertificate
  readonly trust: TrustBundle
}

const pemBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/**
 * Every certificate in a PEM text; what stands around the blocks is passed over, as OpenSSL does.
 * @throws SidespliceError `bad_certificate`
 */
export function parseCertificates(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(pemBlock)
  if (blocks === null) throw fault('bad_certificate', 'no PEM certificate in it')
  return blocks.map((block, at) => {
    try {
      return new X509Certificate(block)
    } catch (cause) {
      throw fault('bad_certificate', `certificate ${at + 1} of ${blocks.length} does not parse`, cause)
    }
  })
}

/** @throws SidespliceError `bad_certificate` */
export function parseTrustBundle(pem: string): TrustBundle {
  const roots = parseCertificates(pem)
  const digest = roots
    .map(root => root.fingerprint256)
    .sort()
    .join(' ')
  return Object.freeze({ roots, pem: roots.map(root => root.toString()).join(''), digest })
}

export interface LeafSource {
  readonly certPem: string
  readonly keyPem: Buffer
  readonly trust: TrustBundle
  readonly now: number
}

/**
 * Checks a leaf as it would be checked by a peer, so that a bad one never replaces a good one.
 * @throws SidespliceError `bad_certificate`, `bad_key`, `key_mismatch`, `bad_uri_sans`, `bad_spiffe_id`, and those of verifyChain
 */
export function parseLeaf(source: LeafSource): LeafCertificate {
  const [leaf, ...intermediates] = parseCertificates(source.certPem)
  if (leaf === undefined) throw fault('bad_certificate', 'no PEM certificate in it')
  const key = parseKey(source.keyPem)
  if (!leaf.checkPrivateKey(key))
    throw fault('key_mismatch', 'the private key is not the one of this certificate')
  const sans = uriSans(leaf)
  const [uri] = sans
  if (uri === undefined || sans.length > 1)
    throw fault('bad_uri_sans', `${sans.length} URI SANs instead of one SPIFFE ID`)
  verifyChain({
    leaf,
    presented: intermediates,
    roots: source.trust.roots,
    now: source.now,
    purposes: ['server', 'client'],
  })
  return Object.freeze({
    id: parseSpiffeId(uri),
    chainPem: [leaf, ...intermediates].map(certificate => certificate.toString()).join(''),
    privateKey: source.keyPem,
    serial: leaf.serialNumber,
    fingerprint: leaf.fingerprint256,
    notBeforeAt: Date.parse(leaf.validFrom),
    notAfterAt: Date.parse(leaf.validTo),
  })
}

function parseKey(pem: Buffer) {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    // OpenSSL's own message is left out: it names a decoder, not what is wrong with the file.
    const encrypted = pem.includes('ENCRYPTED')
    throw fault('bad_key', encrypted ? 'an encrypted private key' : 'no PEM private key that parses', cause)
  }
}

function fault(code: string, message: string, cause?: unknown): SidespliceError {
  return new SidespliceError(message, { source: 'identity', code, cause })
}
