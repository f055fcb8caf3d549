// Certificates that we make: roots, cross-signed ones and leaves, for the embedded agent's CA, the demonstration and tests.
import 'reflect-metadata'
import { createPrivateKey, type KeyObject, randomBytes, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

x509.cryptoProvider.set(webcrypto as never)

const p256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const hourMs = 3_600_000

export interface IssuedCertificate {
  readonly certPem: string
  /** PKCS #8 in PEM. */
  readonly keyPem: string
  /** The same key in SEC1 (RFC 5915), as Consul takes it. */
  readonly sec1Pem: string
  /** Leaf first, then every issuer up to the root, which is left out. */
  readonly chainPem: string
  readonly certificate: x509.X509Certificate
  readonly keys: webcrypto.CryptoKeyPair
}

export interface IssueOptions {
  /** Empty for no subject at all, as Consul's later leaves have none. */
  readonly commonName: string
  /** The whole subject, where it is that of another certificate. */
  readonly subject?: string
  /** Absent for a root. */
  readonly issuer?: IssuedCertificate
  readonly ca?: boolean
  readonly uris?: readonly string[]
  readonly dnsNames?: readonly string[]
  /** Extended key usages; `[]` leaves the extension out. */
  readonly usages?: readonly ('server' | 'client')[]
  readonly notBefore?: Date
  readonly notAfter?: Date
  /** To make another certificate for a key that exists, as a cross-signed CA is. */
  readonly keys?: webcrypto.CryptoKeyPair
}

/** A certificate on P-256 with the key usages of a Consul leaf or CA; valid from a minute ago for an hour unless said otherwise. */
export async function issueCertificate(options: IssueOptions): Promise<IssuedCertificate> {
  const {
    issuer,
    ca = false,
    uris = [],
    dnsNames = [],
    usages = ca ? [] : (['server', 'client'] as const),
  } = options
  const keys =
    options.keys ??
    ((await webcrypto.subtle.generateKey(p256, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair)
  const names = [
    ...uris.map(value => ({ type: 'url' as const, value })),
    ...dnsNames.map(value => ({ type: 'dns' as const, value })),
  ]
  const subject = options.subject ?? (options.commonName === '' ? '' : `CN=${options.commonName}`)
  const flags = x509.KeyUsageFlags
  const purposes = { server: x509.ExtendedKeyUsage.serverAuth, client: x509.ExtendedKeyUsage.clientAuth }
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `01${randomBytes(9).toString('hex')}`,
    subject,
    issuer: issuer?.certificate.subject ?? subject,
    notBefore: options.notBefore ?? new Date(Date.now() - 60_000),
    notAfter: options.notAfter ?? new Date(Date.now() + hourMs),
    publicKey: keys.publicKey as never,
    signingKey: (issuer?.keys.privateKey ?? keys.privateKey) as never,
    signingAlgorithm: p256,
    extensions: [
      new x509.BasicConstraintsExtension(ca, undefined, true),
      new x509.KeyUsagesExtension(
        ca
          ? flags.digitalSignature | flags.keyCertSign | flags.cRLSign
          : flags.digitalSignature | flags.keyAgreement,
        true,
      ),
      ...(usages.length > 0
        ? [new x509.ExtendedKeyUsageExtension(usages.map(usage => purposes[usage]))]
        : []),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names, subject === '')] : []),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never),
      await x509.AuthorityKeyIdentifierExtension.create((issuer?.keys.publicKey ?? keys.publicKey) as never),
    ],
  })
  const certPem = `${certificate.toString('pem')}\n`
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)
  const key = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
  const keyPem = key.export({
    format: 'pem',
    type: 'pkcs8',
  })
  return {
    certPem,
    keyPem: keyPem.toString(),
    sec1Pem: key.export({ format: 'pem', type: 'sec1' }).toString(),
    chainPem: certPem + (issuer === undefined || isRoot(issuer) ? '' : issuer.chainPem),
    certificate,
    keys,
  }
}

/** A CA that was made before, by us or by somebody else: its certificate in PEM, and its key, which is on P-256. */
export async function loadIssuer(certPem: string, key: KeyObject): Promise<IssuedCertificate> {
  const certificate = new x509.X509Certificate(certPem)
  const pkcs8 = key.export({ format: 'der', type: 'pkcs8' })
  const keys = {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, p256, true, ['sign']),
    publicKey: (await certificate.publicKey.export(p256, ['verify'])) as webcrypto.CryptoKey,
  }
  return {
    certPem: `${certificate.toString('pem')}\n`,
    keyPem: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    sec1Pem: key.export({ format: 'pem', type: 'sec1' }).toString(),
    chainPem: `${certificate.toString('pem')}\n`,
    certificate,
    keys,
  }
}

function isRoot({ certificate }: IssuedCertificate): boolean {
  return certificate.subject === certificate.issuer
}
