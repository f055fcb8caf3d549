// The certificates that tests use: one mesh with a root and two services, and whatever else a test asks for.
import { type IssuedCertificate, type IssueOptions, issueCertificate } from '../../src/identity/issue.ts'
import { firstBodyLine, noteSecret } from './secrets.ts'

export type { IssuedCertificate } from '../../src/identity/issue.ts'

/** Issues a certificate and notes it and its key as text that must never turn up in an output. */
export async function issue(options: IssueOptions): Promise<IssuedCertificate> {
  const issued = await issueCertificate(options)
  noteSecrets(issued)
  return issued
}

export function spiffeId(service: string, trustDomain = 'mesh.test'): string {
  return `spiffe://${trustDomain}/ns/default/dc/dc1/svc/${service}`
}

export function issueRoot(commonName = 'root'): Promise<IssuedCertificate> {
  return issue({ commonName, ca: true, uris: ['spiffe://mesh.test'] })
}

export function issueLeaf(
  service: string,
  issuer: IssuedCertificate,
  options: Partial<IssueOptions> = {},
): Promise<IssuedCertificate> {
  return issue({ commonName: service, issuer, uris: [spiffeId(service)], ...options })
}

/** The issuer at the end of a chain of `count` intermediates below `root`; `root` itself for none. */
export async function issueIntermediates(root: IssuedCertificate, count: number): Promise<IssuedCertificate> {
  let issuer = root
  for (let at = 1; at <= count; at++)
    issuer = await issue({ commonName: `intermediate ${at}`, issuer, ca: true })
  return issuer
}

const root = await issueRoot()
export const mesh = { root, web: await issueLeaf('web', root), db: await issueLeaf('db', root) } as const

function noteSecrets({ certPem, keyPem }: IssuedCertificate): void {
  for (const pem of [keyPem, certPem]) noteSecret(firstBodyLine(pem))
}
