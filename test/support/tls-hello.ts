// What a sidecar presents to who dials it.
import tls from 'node:tls'
import type { Address } from '../../src/address.ts'
import type { IssuedCertificate } from './pki.ts'

/** What a public listener presents in a handshake, leaf first, as serial numbers; without the root, which may stand there or not. */
export function presentedBy(
  address: Address,
  peer: Pick<IssuedCertificate, 'chainPem' | 'keyPem'>,
): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({
      ...address,
      cert: peer.chainPem,
      key: peer.keyPem,
      // Who it is, is the question.
      rejectUnauthorized: false,
    })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      const serials: string[] = []
      let certificate = socket.getPeerX509Certificate()
      while (certificate !== undefined) {
        if (certificate.subject !== certificate.issuer) serials.push(certificate.serialNumber)
        certificate = certificate.issuerCertificate
      }
      socket.destroy()
      resolve(serials)
    })
  })
}

export function serialOf({ certificate }: IssuedCertificate): string {
  return certificate.serialNumber.toUpperCase()
}
