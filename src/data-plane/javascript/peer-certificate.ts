// The rules for a peer's certificate that OpenSSL's own verification leaves open.
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { errorCode } from '../../errors.ts'
import { maxIntermediates, type Purpose, requireLeaf, verifyChain } from '../../identity/chain.ts'
import type { TlsIdentity } from './tls.ts'

// A Consul leaf is under 1 KiB, a chain of four RSA-4096 certificates under 8 KiB.
const maxCertificateBytes = 16 * 1024
// More than could fit above: no need to walk further.
const maxCertificates = 64

/** The certificates that the peer sent, leaf first. */
export function presentedCertificates(socket: TLSSocket): readonly X509Certificate[] {
  const found: X509Certificate[] = []
  let next = socket.getPeerX509Certificate()
  while (next !== undefined && found.length < maxCertificates) {
    found.push(next)
    next = next.issuerCertificate
  }
  return found
}

/** Why this peer's certificates are refused, although their chain was verified; undefined where they are not. */
export function certificateRefusal(
  presented: readonly X509Certificate[],
  identity: TlsIdentity,
  purpose: Purpose,
): string | undefined {
  const [leaf, ...others] = presented
  if (leaf === undefined) return 'none presented'
  const bytes = presented.reduce((sum, certificate) => sum + certificate.raw.length, 0)
  if (bytes > maxCertificateBytes) return `${bytes} bytes of certificates, at most ${maxCertificateBytes}`
  return refusalOf(() => {
    requireLeaf(leaf, [purpose])
    // Only then can the chain be deeper than it may: leaf, intermediates, and the root where it is sent along.
    if (others.length > maxIntermediates) verify(presented, identity, purpose)
  })
}

/** Why certificates that were verified under other roots are refused under those of now. */
export function staleTrustRefusal(
  presented: readonly X509Certificate[],
  trust: { readonly used: TlsIdentity; readonly now: TlsIdentity | undefined; readonly purpose: Purpose },
): string | undefined {
  const { used, now, purpose } = trust
  if (now === undefined || now.trust === used.trust) return undefined
  return refusalOf(() => verify(presented, now, purpose))
}

function verify(presented: readonly X509Certificate[], identity: TlsIdentity, purpose: Purpose): void {
  const [leaf, ...others] = presented
  if (leaf !== undefined)
    verifyChain({ leaf, presented: others, roots: identity.roots, now: Date.now(), purposes: [purpose] })
}

function refusalOf(check: () => void): string | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    return errorCode(error)
  }
}
