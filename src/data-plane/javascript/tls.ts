// TLS as both legs use it: one set of parameters, contexts built once for each identity.
import { constants, createPrivateKey, X509Certificate } from 'node:crypto'
import tls from 'node:tls'
import { errorCode, SidespliceError } from '../../errors.ts'
import type { DataPlaneIdentity } from '../interface.ts'
import { ServerHandshakes } from './server-handshakes.ts'

/** An identity in the form that handshakes use; sessions keep the one that they began with. */
export interface TlsIdentity {
  readonly context: tls.SecureContext
  readonly server: ServerHandshakes
  readonly roots: readonly X509Certificate[]
  /** Equal for two identities that trust the same roots. */
  readonly trust: string
}

// AEAD suites alone, AES-128 first: it is the fastest where the CPU has AES, and the relays of the native twin do just these.
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')

// Nothing is resumed: Node admits by ticket a leaf that has expired since the ticket was made.
const secureOptions =
  constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_CIPHER_SERVER_PREFERENCE

/** @throws SidespliceError `identity_refused` */
export function buildTlsIdentity(identity: DataPlaneIdentity, groups: string): TlsIdentity {
  try {
    const options = {
      cert: identity.chainPem,
      key: identity.privateKey,
      ca: identity.rootsPem,
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.3',
      ciphers,
      ecdhCurve: groups,
      secureOptions,
      // A server that asks for certificates must have one (SSL_CTX_set_session_id_context(3)).
      sessionIdContext: 'sidesplice',
      // A listed root is an anchor also where it is not self-signed (X509_V_FLAG_PARTIAL_CHAIN).
      allowPartialTrustChain: true,
    } as const
    // Node passes over an empty chain or key in silence.
    if (!new X509Certificate(identity.chainPem).checkPrivateKey(createPrivateKey(identity.privateKey))) {
      throw new Error('the key is not the one of the leaf')
    }
    const context = tls.createSecureContext(options)
    const roots = identity.rootsPem
      .split(/(?<=-----END CERTIFICATE-----\n?)(?=-----BEGIN)/)
      .map(pem => new X509Certificate(pem))
    return {
      context,
      server: new ServerHandshakes(context),
      roots,
      trust: roots
        .map(root => root.fingerprint256)
        .sort()
        .join(' '),
    }
  } catch (cause) {
    throw new SidespliceError(`the TLS library refused the identity: ${errorCode(cause)}`, {
      source: 'data-plane',
      code: 'identity_refused',
      cause,
    })
  }
}

/**
 * The name of the TLS alert that an OpenSSL error code of Node's stands for (`ERR_SSL_TLSV1_ALERT_UNKNOWN_CA`: `unknown_ca`).
 * From OpenSSL 3.2 on, what was SSLV3 is SSL/TLS.
 */
export function alertName(code: string): string | undefined {
  return /^ERR_SSL_(?:SSLV3|SSL\/TLS|TLSV1|TLSV13)_ALERT_(.+)$/.exec(code)?.[1]?.toLowerCase()
}

/** Node's codes for a chain that OpenSSL did not accept (X509_verify_cert_error_string(3)). */
export function isCertificateError(code: string): boolean {
  return certificateErrors.has(code) || code.startsWith('CERT_')
}

const certificateErrors = new Set([
  // X509 results that Node has no name for; an issuer that may not sign certificates is one.
  'UNSPECIFIED',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'UNSUPPORTED_CERTIFICATE_PURPOSE',
  'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  'ERROR_IN_CERT_NOT_BEFORE_FIELD',
  'ERROR_IN_CERT_NOT_AFTER_FIELD',
  // The server's own finding where the client sent none (RFC 8446 section 4.4.2.4).
  'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE',
])

/** Alerts by which a server refuses a client's certificate or its holder (RFC 8446 section 6.2). */
export function isCertificateAlert(alert: string): boolean {
  return alert === 'access_denied' || alert === 'unknown_ca' || alert.includes('certificate')
}
