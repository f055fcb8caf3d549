// TLS of the HTTP API: what it is set to, what of that is refused, and its files as they are now.
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { type Address, formatAddress, isHost, isLoopback } from '../address.ts'
import type { Problem } from '../config/problem.ts'
import type { Json } from '../consul/shape.ts'
import { SidespliceError } from '../errors.ts'
import { object, textOf } from './proxy-block.ts'

export interface HttpsSettings {
  readonly address: Address
  readonly certFile: string
  readonly keyFile: string
  /** Whose certificates a client has to show; without it none is asked for. */
  readonly clientCaFile: string | undefined
}

/** Undefined where `ports.https` is not set (-1 and 0 are Consul's words for off). */
export function httpsSettings(files: Json): HttpsSettings | undefined {
  const port = Number(object(files.Ports).Https ?? 0)
  if (port <= 0) return undefined
  const verifies = files.VerifyIncoming === true || files.VerifyIncomingHttps === true
  return {
    address: { host: hostOf(files, 'Https'), port },
    certFile: textOf(files.CertFile),
    keyFile: textOf(files.KeyFile),
    clientCaFile: verifies ? textOf(files.CaFile) : undefined,
  }
}

/** Where one of the API's ports listens. */
export function hostOf(files: Json, port: 'Http' | 'Https'): string {
  return textOf(object(files.Addresses)[port]) || textOf(files.ClientAddr) || '127.0.0.1'
}

/** What speaks against it. */
export function httpsProblems(
  https: HttpsSettings | undefined,
  { tokens, unsafe }: { readonly tokens: boolean; readonly unsafe: boolean },
): readonly Problem[] {
  if (https === undefined) return []
  const { address, certFile, keyFile, clientCaFile } = https
  const missing = (where: string, text: string | undefined, why: string) =>
    text === '' ? [{ where: 'agent', key: where, got: 'nothing', expected: `a file, since ${why}` }] : []
  return [
    ...missing('cert_file', certFile, 'ports.https is set'),
    ...missing('key_file', keyFile, 'ports.https is set'),
    ...missing('ca_file', clientCaFile, 'clients are to be verified'),
    ...(isHost(address.host)
      ? []
      : [
          {
            where: 'agent',
            key: 'addresses.https',
            got: JSON.stringify(address.host),
            expected: 'an IP address',
          },
        ]),
    ...(isLoopback(address.host) || tokens || unsafe
      ? []
      : [
          {
            where: 'addresses.https',
            got: formatAddress(address),
            expected:
              'a loopback address, or acl { enabled = true } with default_policy = "deny": whoever reaches the API may do everything. --unsafe-listen allows it all the same',
          },
        ]),
  ]
}

/**
 * The files as they are now.
 * @throws SidespliceError `agent_tls_failed` where they can't be read, or do not fit each other
 */
export function readHttps({ certFile, keyFile, clientCaFile }: HttpsSettings): SecureContextOptions {
  const read = (key: string, file: string) => {
    try {
      return readFileSync(file)
    } catch (cause) {
      throw failure(key, file, cause)
    }
  }
  const context = {
    cert: read('cert_file', certFile),
    key: read('key_file', keyFile),
    ...(clientCaFile !== undefined && { ca: read('ca_file', clientCaFile) }),
    minVersion: 'TLSv1.2',
  } as const
  try {
    createSecureContext(context)
  } catch (cause) {
    throw failure('cert_file and key_file', `${certFile}, ${keyFile}`, cause)
  }
  return context
}

function failure(key: string, got: string, cause: unknown): SidespliceError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new SidespliceError(`${key}: got ${got} (${why}), expected PEM files of a certificate and its key`, {
    source: 'agent',
    code: 'agent_tls_failed',
    cause,
  })
}
