// Peers that are no sidecar: plain node:tls on either end, with whatever certificate a test gives them.
import type net from 'node:net'
import type { TestContext } from 'node:test'
import tls, { type TLSSocket } from 'node:tls'
import type { Address } from '../../src/address.ts'
import { End } from './ends.ts'
import type { IssuedCertificate } from './pki.ts'

export interface TlsPeerOptions {
  /** None presents none. */
  readonly certificate?: Pick<IssuedCertificate, 'chainPem' | 'keyPem'>
  /** Presented instead of the certificate's own chain. */
  readonly chainPem?: string
  readonly root: Pick<IssuedCertificate, 'certPem'>
  readonly options?: tls.SecureContextOptions
}

export class TlsEnd extends End {
  /** Whether the handshake is done, as this end sees it. */
  secured = false

  constructor(socket: TLSSocket) {
    super(socket)
    socket.on('secureConnect', () => {
      this.secured = true
    })
  }
}

/** Dials a public listener. */
export function tlsConnect(t: TestContext, address: Address, peer: TlsPeerOptions): TlsEnd {
  const socket = tls.connect({
    ...address,
    ...material(peer),
    ca: peer.root.certPem,
    checkServerIdentity: () => undefined,
  })
  t.after(() => socket.destroy())
  return new TlsEnd(socket)
}

export interface TlsServer {
  readonly address: Address
  /** TCP connections that came. */
  readonly accepted: net.Socket[]
  /** Those that got through the handshake. */
  readonly connections: End[]
}

export interface TlsServerOptions extends TlsPeerOptions {
  readonly serve?: (end: End, socket: TLSSocket) => void
  readonly onKeylog?: (line: Buffer) => void
}

/** Stands where an upstream's sidecar would. */
export async function openTlsServer(t: TestContext, peer: TlsServerOptions): Promise<TlsServer> {
  const accepted: net.Socket[] = []
  const connections: End[] = []
  const server = tls.createServer({
    ...material(peer),
    ca: peer.root.certPem,
    requestCert: true,
    allowHalfOpen: true,
  })
  server.on('connection', (socket: net.Socket) => {
    accepted.push(socket)
    socket.on('error', () => {})
  })
  server.on('tlsClientError', () => {})
  if (peer.onKeylog !== undefined) server.on('keylog', peer.onKeylog)
  server.on('secureConnection', socket => {
    const end = new End(socket)
    connections.push(end)
    peer.serve?.(end, socket)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    for (const socket of accepted) socket.destroy()
  })
  return {
    address: { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port },
    accepted,
    connections,
  }
}

function material({ certificate, chainPem, options }: TlsPeerOptions): tls.SecureContextOptions {
  if (certificate === undefined) return { ...options }
  return { cert: chainPem ?? certificate.chainPem, key: certificate.keyPem, ...options }
}
