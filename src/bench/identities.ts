// Certificates for one bench: a root, a leaf for each end, and a stranger's of another root.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type IssuedCertificate, issueCertificate } from '../identity/issue.ts'

const trustDomain = 'bench.consul'
const dayMs = 86_400_000

/** Paths. */
export interface IdentityFiles {
  readonly cert: string
  readonly key: string
  /** Both in one, as HAProxy wants it. */
  readonly pem: string
  readonly ca: string
}

export interface Identities {
  readonly web: IdentityFiles
  readonly db: IdentityFiles
  /** web's name, by a root that nobody trusts. */
  readonly stranger: IdentityFiles
}

export function benchId(service: string): string {
  return `spiffe://${trustDomain}/ns/default/dc/dc1/svc/${service}`
}

export async function makeIdentities(folder: string): Promise<Identities> {
  await mkdir(folder, { recursive: true })
  const [root, other] = [await makeRoot('bench CA'), await makeRoot('another CA')]
  return {
    web: await writeIdentity(folder, 'web', root),
    db: await writeIdentity(folder, 'db', root),
    stranger: await writeIdentity(folder, 'stranger', other),
  }
}

function makeRoot(commonName: string): Promise<IssuedCertificate> {
  return issueCertificate({ commonName, ca: true, uris: [`spiffe://${trustDomain}`], notAfter: tomorrow() })
}

function tomorrow(): Date {
  return new Date(Date.now() + dayMs)
}

async function writeIdentity(folder: string, name: string, root: IssuedCertificate): Promise<IdentityFiles> {
  const service = name === 'stranger' ? 'web' : name
  const leaf = await issueCertificate({
    commonName: service,
    issuer: root,
    uris: [benchId(service)],
    // Peers that check names check this one.
    dnsNames: [service],
    notAfter: tomorrow(),
  })
  const file = (end: string) => join(folder, `${name}.${end}`)
  const secret = { mode: 0o600 }
  await writeFile(file('crt'), leaf.chainPem)
  await writeFile(file('key'), leaf.keyPem, secret)
  await writeFile(file('pem'), leaf.chainPem + leaf.keyPem, secret)
  await writeFile(file('ca'), root.certPem)
  return { cert: file('crt'), key: file('key'), pem: file('pem'), ca: file('ca') }
}
