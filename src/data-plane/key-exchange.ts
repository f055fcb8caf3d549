// Which groups a handshake agrees on its keys by: what the setting's words mean to the TLS library, and whether this one has them.
import { createSecureContext } from 'node:tls'
import type { KeyExchange } from '../config/config.ts'
import { SidespliceError } from '../errors.ts'

// Whom either of ours meets: X25519 is what every peer has, P-256 what a FIPS one is confined to.
const classical = 'X25519:P-256:P-384'
const groups: Readonly<Record<KeyExchange, string>> = {
  x25519: classical,
  // Shares of both are sent (*, SSL_CTX_set1_groups_list(3)): a peer without ML-KEM then costs no second ClientHello.
  x25519mlkem768: '*X25519MLKEM768:*X25519:P-256:P-384',
}

/** Best first, as SSL_CTX_set1_groups_list(3) takes them. */
export function groupsOf(keyExchange: KeyExchange): string {
  return groups[keyExchange]
}

/** @throws SidespliceError `key_exchange_unavailable` where the OpenSSL inside this Node has no such group (X25519MLKEM768: before 3.5) */
export function requireKeyExchange(keyExchange: KeyExchange): void {
  try {
    createSecureContext({ ecdhCurve: groupsOf(keyExchange) })
  } catch (cause) {
    const message = `key exchange ${keyExchange} can't be had: it needs OpenSSL 3.5 inside Node, this Node has ${process.versions.openssl}`
    throw new SidespliceError(message, { source: 'data-plane', code: 'key_exchange_unavailable', cause })
  }
}
