// Any TLS 1.3 alert as a server's word after the handshake, which Node itself can't send: sealed by hand (RFC 8446 section 5.2).
import { createCipheriv, createHmac } from 'node:crypto'
import type { TestContext } from 'node:test'
import type { Address } from '../../src/address.ts'
import { openMiddle } from './middle.ts'
import { mesh } from './pki.ts'
import { openTlsServer } from './tls-peers.ts'

/** AlertDescription, RFC 8446 section 6. */
export const alerts = {
  access_denied: 49,
  certificate_unknown: 46,
  internal_error: 80,
  unknown_ca: 48,
} as const
export type Alert = keyof typeof alerts

const fatal = 2
const alertType = 21
const applicationDataType = 23
const tagBytes = 16
/** An endpoint that completes the handshake as db and then sends one fatal alert, at once or behind the first byte it gets. */
export async function openAlertingServer(
  t: TestContext,
  { alert, afterByte = false }: { readonly alert: Alert; readonly afterByte?: boolean },
): Promise<Address> {
  const secrets = new Map<string, Buffer>()
  const server = await openTlsServer(t, {
    certificate: mesh.db,
    root: mesh.root,
    options: { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' },
    onKeylog: line => {
      const [label, , secret] = line.toString().trim().split(' ')
      if (label !== undefined && secret !== undefined) secrets.set(label, Buffer.from(secret, 'hex'))
    },
    serve: (_, socket) => {
      const secret = secrets.get('SERVER_TRAFFIC_SECRET_0')
      const crossing = middle.crossings.find(
        ({ towardsTarget }) => towardsTarget.localPort === socket.remotePort,
      )
      if (secret === undefined || crossing === undefined) throw new Error('the handshake was not seen')
      // Session tickets and all that Node would send stay behind, so that the alert is record 0 under its key.
      crossing.towardsTarget.unpipe()
      const send = () => crossing.towardsDialer.end(sealedAlert(secret, alert))
      if (afterByte) socket.once('data', send)
      else send()
    },
  })
  const middle = await openMiddle(t, server.address)
  return middle.address
}

function sealedAlert(secret: Buffer, alert: Alert): Buffer {
  // The nonce of record 0 is the IV itself.
  const nonce = expandLabel(secret, 'iv', 12)
  const inner = Buffer.from([fatal, alerts[alert], alertType])
  const header = Buffer.from([applicationDataType, 3, 3, 0, inner.length + tagBytes])
  const cipher = createCipheriv('aes-128-gcm', expandLabel(secret, 'key', 16), nonce).setAAD(header)
  return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()])
}

/** HKDF-Expand-Label with an empty context, RFC 8446 section 7.1; one block is enough for these lengths. */
function expandLabel(secret: Buffer, label: string, bytes: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([0, bytes, name.length]), name, Buffer.from([0, 1])])
  return createHmac('sha256', secret).update(info).digest().subarray(0, bytes)
}
