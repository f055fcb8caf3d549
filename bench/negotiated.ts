// What a chain negotiates, asked before it is measured: a proxy that skips half of the work would win every comparison. A is asked by
// a server of ours in B's place, B by clients of ours in A's.
import { readFile } from 'node:fs/promises'
import { connect as connectPlain } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { connect, createServer, type TLSSocket } from 'node:tls'
import type { Identities, IdentityFiles } from '../src/bench/identities.ts'
import { helloAndByte } from './hello.ts'
import { portOf } from './peer.ts'

export interface Negotiated {
  readonly protocol: string
  readonly cipher: string
}

/** A proxy that was set up wrong: what it did, and what was expected of it. */
export class WrongSetup extends Error {
  override readonly name = 'WrongSetup'

  constructor(who: string, got: string, expected: string) {
    super(`${who}: got ${got}, expected ${expected}`)
  }
}

const limitMs = 10_000
const retryMs = 100
// Proxies with a thread or a process for each core keep sessions apart: with so many some meet one that has been there.
const dials = 8

export interface Dialing {
  readonly to: string
  readonly bAddress: string
  readonly identities: Identities
  /** Whether sessions are meant to be resumed. */
  readonly resumes: boolean
}

/** Asks A, which runs while B does not. @throws WrongSetup */
export async function assertDialing({ to, bAddress, identities, resumes }: Dialing): Promise<Negotiated> {
  const { web, db, stranger } = identities
  let seen = await dialled(to, bAddress, { serve: db, trust: web.ca })
  // One that asks an agent where to dial may not know yet, however ready it is.
  for (const end = performance.now() + limitMs; seen.length === 0 && performance.now() < end; ) {
    await wait(retryMs)
    seen = await dialled(to, bAddress, { serve: db, trust: web.ca })
  }
  const [first] = seen
  if (first === undefined)
    throw new WrongSetup('sidecar A', 'no connection', 'one to a peer with the right certificate')
  if (seen.some(({ resumed }) => resumed) !== resumes) throw wrongHandshake(resumes)
  if (first.protocol !== 'TLSv1.3') throw new WrongSetup('sidecar A', first.protocol, 'TLSv1.3')
  if (!first.presented)
    throw new WrongSetup('sidecar A', 'no client certificate', 'one that its CA has signed')
  const toStranger = await dialled(to, bAddress, { serve: stranger, trust: web.ca })
  if (toStranger.length > 0)
    throw new WrongSetup('sidecar A', "a stranger's certificate taken", 'a connection that fails')
  const { protocol, cipher } = first
  return { protocol, cipher }
}

function wrongHandshake(resumes: boolean): WrongSetup {
  const [resumed, full] = ['a resumed session', 'a full handshake each time']
  return resumes ? new WrongSetup('sidecar A', full, resumed) : new WrongSetup('sidecar A', resumed, full)
}

/** Asks B, behind which the app runs. @throws WrongSetup */
export async function assertServing(bAddress: string, { web, stranger }: Identities): Promise<Negotiated> {
  const good = await served(bAddress, { identity: web, trust: web.ca })
  if (good === undefined)
    throw new WrongSetup('sidecar B', 'no answer', "the app's, for a client with a certificate")
  if (good.protocol !== 'TLSv1.3') throw new WrongSetup('sidecar B', good.protocol, 'TLSv1.3')
  if ((await served(bAddress, { trust: web.ca })) !== undefined)
    throw new WrongSetup('sidecar B', 'an answer without a client certificate', 'none')
  if ((await served(bAddress, { identity: stranger, trust: web.ca })) !== undefined)
    throw new WrongSetup('sidecar B', "an answer for a stranger's certificate", 'none')
  return good
}

interface Dialled extends Negotiated {
  readonly presented: boolean
  readonly resumed: boolean
}

/** What reached our server through A, by several connections, so that a resumed one shows; empty where one did not. */
async function dialled(
  to: string,
  bAddress: string,
  { serve, trust }: { readonly serve: IdentityFiles; readonly trust: string },
): Promise<readonly Dialled[]> {
  const server = createServer({
    ...(await materialOf(serve)),
    ca: await readFile(trust),
    requestCert: true,
    rejectUnauthorized: false,
  })
  server.on('tlsClientError', () => {})
  const sockets: TLSSocket[] = []
  const seen: Dialled[] = []
  server.on('secureConnection', socket => {
    sockets.push(socket.on('error', () => {}))
    seen.push({
      protocol: socket.getProtocol() ?? 'no TLS',
      cipher: socket.getCipher().name,
      presented: socket.authorized,
      resumed: socket.isSessionReused(),
    })
    // The byte that is asked for, whatever is said: the ticket that goes before it could be used for the next connection.
    socket.once('data', () => socket.write('x'))
  })
  await new Promise<void>(resolve => server.listen(portOf(bAddress), '127.0.0.1', resolve))
  try {
    for (let dial = 0; dial < dials; dial++) if (!(await answers(to))) return []
    return seen
  } finally {
    for (const socket of sockets) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  }
}

/** Whether something comes back through the chain for a byte that is asked for. */
function answers(to: string): Promise<boolean> {
  const socket = connectPlain(portOf(to), '127.0.0.1')
  return new Promise<boolean>(resolve => {
    socket.setTimeout(limitMs, () => resolve(false))
    socket.on('error', () => resolve(false)).once('close', () => resolve(false))
    socket.once('data', () => resolve(true))
    socket.write(helloAndByte)
  }).finally(() => socket.destroy())
}

/** What a client of ours negotiated with B; undefined where the app's answer did not come. */
async function served(
  bAddress: string,
  { identity, trust }: { readonly identity?: IdentityFiles; readonly trust: string },
): Promise<Negotiated | undefined> {
  const socket = connect({
    host: '127.0.0.1',
    port: portOf(bAddress),
    ca: await readFile(trust),
    servername: 'db',
    // Names are A's business, and Consul's leaves hold none that Node looks at.
    checkServerIdentity: () => undefined,
    ...(identity !== undefined && (await materialOf(identity))),
  })
  try {
    return await new Promise<Negotiated | undefined>(resolve => {
      socket.setTimeout(limitMs, () => resolve(undefined))
      socket.on('error', () => resolve(undefined)).once('close', () => resolve(undefined))
      // In TLS 1.3 a client is done before the server has judged its certificate: only an answer of the app's proves anything.
      socket.once('data', () =>
        resolve({ protocol: socket.getProtocol() ?? 'no TLS', cipher: socket.getCipher().name }),
      )
      socket.write(helloAndByte)
    })
  } finally {
    socket.destroy()
  }
}

async function materialOf({ cert, key }: IdentityFiles): Promise<{ cert: Buffer; key: Buffer }> {
  return { cert: await readFile(cert), key: await readFile(key) }
}
