// Certificates that are refused, each beside one that is accepted, and the roots that they are judged under. The same cases
// are put to a data plane by a peer that dials it and by a peer that it dials.
import {
  type IssuedCertificate,
  issue,
  issueIntermediates,
  issueLeaf,
  issueRoot,
  mesh,
  spiffeId,
} from './pki.ts'

export interface CertificateCase {
  readonly title: string
  readonly accepted: boolean
  /** Whether it takes sight of more than the leaf to refuse it. */
  readonly byChain?: boolean
  make(service: 'web' | 'db'): Promise<Presented>
}

export interface Presented {
  readonly certificate: IssuedCertificate
  readonly chainPem?: string
  /** What the data plane trusts. */
  readonly root: IssuedCertificate
}

const minuteMs = 60_000
const under = (root: IssuedCertificate) => async (certificate: Promise<IssuedCertificate>) => ({
  certificate: await certificate,
  root,
})
const inMesh = under(mesh.root)

function own(service: 'web' | 'db') {
  return service === 'web' ? ('client' as const) : ('server' as const)
}

function other(service: 'web' | 'db') {
  return service === 'web' ? ('server' as const) : ('client' as const)
}

export const certificateCases: readonly CertificateCase[] = [
  { title: 'a leaf of the mesh', accepted: true, make: service => inMesh(issueLeaf(service, mesh.root)) },
  {
    title: 'a CA certificate as a leaf',
    accepted: false,
    make: service => inMesh(issueLeaf(service, mesh.root, { ca: true, usages: ['server', 'client'] })),
  },
  {
    title: 'a leaf for its own role alone',
    accepted: true,
    make: service => inMesh(issueLeaf(service, mesh.root, { usages: [own(service)] })),
  },
  {
    title: 'a leaf for the other role alone',
    accepted: false,
    make: service => inMesh(issueLeaf(service, mesh.root, { usages: [other(service)] })),
  },
  // RFC 5280 section 4.2.1.12: without the extension, every purpose is allowed.
  {
    title: 'a leaf without extended key usages',
    accepted: true,
    make: service => inMesh(issueLeaf(service, mesh.root, { usages: [] })),
  },
  {
    title: 'a leaf below a listed root that is not self-signed',
    accepted: true,
    async make(service) {
      const intermediate = await issueIntermediates(mesh.root, 1)
      return { certificate: await issueLeaf(service, intermediate), root: intermediate }
    },
  },
  {
    title: 'a leaf beside a listed root that is not self-signed',
    accepted: false,
    async make(service) {
      const listed = await issueIntermediates(mesh.root, 1)
      return { certificate: await issueLeaf(service, await issueIntermediates(mesh.root, 1)), root: listed }
    },
  },
  {
    title: 'a chain with 4 intermediates',
    accepted: true,
    make: async service => inMesh(issueLeaf(service, await issueIntermediates(mesh.root, 4))),
  },
  {
    title: 'a chain with 5 intermediates',
    accepted: false,
    byChain: true,
    make: async service => inMesh(issueLeaf(service, await issueIntermediates(mesh.root, 5))),
  },
  {
    title: 'a chain without its intermediate',
    accepted: false,
    async make(service) {
      const certificate = await issueLeaf(service, await issueIntermediates(mesh.root, 1))
      return { certificate, chainPem: certificate.certPem, root: mesh.root }
    },
  },
  {
    title: 'a leaf of 12 KiB',
    accepted: true,
    make: service => inMesh(issueLeaf(service, mesh.root, { dnsNames: names(12) })),
  },
  {
    title: 'a leaf of more than 16 KiB',
    accepted: false,
    make: service => inMesh(issueLeaf(service, mesh.root, { dnsNames: names(17) })),
  },
  {
    title: 'a leaf beside which other certificates make more than 16 KiB',
    accepted: false,
    byChain: true,
    async make(service) {
      const certificate = await issueLeaf(service, mesh.root)
      const others = await Promise.all(
        ['x', 'y', 'z'].map(name => issueLeaf(name, mesh.root, { dnsNames: names(6) })),
      )
      return {
        certificate,
        chainPem: [certificate, ...others].map(({ certPem }) => certPem).join(''),
        root: mesh.root,
      }
    },
  },
  {
    title: 'a leaf that has expired',
    accepted: false,
    make: service =>
      inMesh(issueLeaf(service, mesh.root, { notBefore: at(-10 * minuteMs), notAfter: at(-minuteMs) })),
  },
  {
    title: 'a leaf that is not yet valid',
    accepted: false,
    make: service =>
      inMesh(issueLeaf(service, mesh.root, { notBefore: at(10 * minuteMs), notAfter: at(20 * minuteMs) })),
  },
  {
    title: 'a leaf below an intermediate that has expired',
    accepted: false,
    async make(service) {
      const expired = { notBefore: at(-10 * minuteMs), notAfter: at(-minuteMs) }
      const intermediate = await issue({ commonName: 'expired', issuer: mesh.root, ca: true, ...expired })
      return { certificate: await issueLeaf(service, intermediate), root: mesh.root }
    },
  },
  {
    title: 'a leaf below a leaf',
    accepted: false,
    make: async service => inMesh(issueLeaf(service, await issueLeaf('db', mesh.root))),
  },
  {
    title: 'a leaf of a foreign CA',
    accepted: false,
    make: async service => inMesh(issueLeaf(service, await issueRoot('foreign'))),
  },
  // A foreign CA that bears the mesh root's name: the signature decides, not the name.
  {
    title: 'a leaf of a foreign CA of the same name',
    accepted: false,
    make: async service => inMesh(issueLeaf(service, await issueRoot())),
  },
  {
    title: 'a self-signed leaf',
    accepted: false,
    make: service => inMesh(issue({ commonName: 'alone', uris: [spiffeId(service)] })),
  },
]

function at(fromNowMs: number): Date {
  return new Date(Date.now() + fromNowMs)
}

/** DNS names that take about this many KiB of a certificate. */
function names(kibibytes: number): readonly string[] {
  const name = (at: number) => `${String(at).padStart(8, '0')}.${'n'.repeat(49)}.test`
  return Array.from({ length: kibibytes * 16 }, (_, at) => name(at))
}
