// A TLS 1.3 peer whose records are sealed by hand after its handshake, so that it can say what no TLS library says: keys come from
// the key log, and the wire is its own (RFC 8446 sections 5 and 7).
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import net, { type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { TestContext } from 'node:test'
import tls, { type TLSSocket } from 'node:tls'
import type { Address } from '../../src/address.ts'
import { reset } from './ends.ts'
import { mesh } from './pki.ts'
import { until } from './until.ts'

export const contentTypes = { changeCipherSpec: 20, alert: 21, handshake: 22, data: 23 } as const
export const messages = {
  clientHello: 1,
  newSessionTicket: 4,
  certificateRequest: 13,
  keyUpdate: 24,
} as const
export const maxPayloadBytes = 16_384

const tagBytes = 16
const settings = { minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' } as const

export interface SealOptions {
  /** Zeros behind the type byte. */
  readonly padding?: number
  readonly outerType?: number
}

export interface ReceivedRecord {
  readonly type: number
  readonly payload: Buffer
}

/** One direction's keys. */
class Traffic {
  #secret: Buffer
  #sequence = 0n

  constructor(secret: Buffer) {
    this.#secret = secret
  }

  get key(): Buffer {
    return expandLabel(this.#secret, 'key', 16)
  }

  /** Of the next record. */
  nonce(): Buffer {
    const nonce = expandLabel(this.#secret, 'iv', 12)
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ this.#sequence++, 4)
    return nonce
  }

  update(): void {
    this.#secret = expandLabel(this.#secret, 'traffic upd', 32)
    this.#sequence = 0n
  }
}

export class RecordPeer {
  readonly socket: Socket
  readonly records: ReceivedRecord[] = []
  /** The TCP stream's own end or error. */
  ended = false
  error: string | undefined
  readonly #sending: Traffic
  readonly #receiving: Traffic
  #received = Buffer.alloc(0)
  /** The end of our own handshake where it was held back. */
  #first: Buffer

  constructor(socket: Socket, sending: Buffer, receiving: Buffer, first: Buffer) {
    this.socket = socket
    this.#sending = new Traffic(sending)
    this.#receiving = new Traffic(receiving)
    this.#first = first
    socket.on('data', chunk => this.#take(chunk))
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error ??= error.code ?? error.message
    })
  }

  seal(type: number, payload: Buffer | string, { padding = 0, outerType = 23 }: SealOptions = {}): Buffer {
    const inner = Buffer.concat([Buffer.from(payload), Buffer.from([type]), Buffer.alloc(padding)])
    return this.sealInner(inner, outerType)
  }

  /** What stands inside is the caller's, its type byte included. */
  sealInner(inner: Buffer, outerType: number = contentTypes.data): Buffer {
    const header = headerOf(outerType, inner.length + tagBytes)
    const cipher = createCipheriv('aes-128-gcm', this.#sending.key, this.#sending.nonce()).setAAD(header)
    return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()])
  }

  data(payload: Buffer | string, options: SealOptions = {}): Buffer {
    return this.seal(contentTypes.data, payload, options)
  }

  handshake(type: number, body: Buffer): Buffer {
    return this.seal(contentTypes.handshake, message(type, body))
  }

  alert(description: number, level = 2): Buffer {
    return this.seal(contentTypes.alert, Buffer.from([level, description]))
  }

  closeNotify(): Buffer {
    return this.alert(0, 1)
  }

  /** What is sealed behind it is under the next key. */
  keyUpdate(requested = false): Buffer {
    const record = this.handshake(messages.keyUpdate, Buffer.from([requested ? 1 : 0]))
    this.updateSending()
    return record
  }

  /** What is sealed from now on is under the next key. */
  updateSending(): void {
    this.#sending.update()
  }

  /** In one segment, as far as that is in our hands: with the end of the handshake where that was held back. */
  send(...parts: readonly Buffer[]): void {
    this.socket.write(Buffer.concat([this.#first, ...parts]))
    this.#first = Buffer.alloc(0)
  }

  /** All application data that came. */
  get text(): string {
    return Buffer.concat(
      this.records.filter(of => of.type === contentTypes.data).map(of => of.payload),
    ).toString()
  }

  /** The descriptions of the alerts that came. */
  get alerts(): readonly number[] {
    return this.records.filter(of => of.type === contentTypes.alert).map(of => of.payload[1] ?? -1)
  }

  /** The handshake messages that came, by type. */
  get handshakes(): readonly number[] {
    return this.records.filter(of => of.type === contentTypes.handshake).map(of => of.payload[0] ?? -1)
  }

  async gets(text: string): Promise<void> {
    await until(() => this.text.length >= text.length || this.error !== undefined, JSON.stringify(text))
    if (this.text !== text)
      throw new Error(`got ${this.text.slice(0, 100)} (${this.error}), expected ${text.slice(0, 100)}`)
  }

  async isOver(): Promise<void> {
    await until(
      () => this.ended || this.error !== undefined || this.socket.closed,
      'the end of the connection',
    )
  }

  reset(): void {
    reset(this.socket)
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk])
    for (;;) {
      if (this.#received.length < 5) return
      const bytes = 5 + this.#received.readUInt16BE(3)
      if (this.#received.length < bytes) return
      this.#open(this.#received.subarray(0, bytes))
      this.#received = this.#received.subarray(bytes)
    }
  }

  #open(record: Buffer): void {
    const nonce = this.#receiving.nonce()
    const cipher = createDecipheriv('aes-128-gcm', this.#receiving.key, nonce).setAAD(record.subarray(0, 5))
    cipher.setAuthTag(record.subarray(-tagBytes))
    // Throws where a record was sealed under another key or nonce than it had to be.
    const inner = Buffer.concat([cipher.update(record.subarray(5, -tagBytes)), cipher.final()])
    const end = inner.findLastIndex(byte => byte !== 0)
    const opened = { type: inner[end] ?? 0, payload: inner.subarray(0, end) }
    this.records.push(opened)
    if (opened.type === contentTypes.handshake && opened.payload[0] === messages.keyUpdate)
      this.#receiving.update()
  }
}

export function headerOf(type: number, bytes: number): Buffer {
  return Buffer.from([type, 3, 3, bytes >> 8, bytes & 0xff])
}

export function message(type: number, body: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from([type, body.length >> 16, (body.length >> 8) & 0xff, body.length & 0xff]),
    body,
  ])
}

export interface RecordClientOptions {
  /** The last flight of the handshake goes out with the first `send`. */
  readonly holdFinished?: boolean
}

/** Dials a public listener as web. */
export async function connectRecordPeer(
  t: TestContext,
  address: Address,
  { holdFinished = false }: RecordClientOptions = {},
): Promise<RecordPeer> {
  const raw = net.connect({ ...address, noDelay: true, allowHalfOpen: true })
  t.after(() => raw.destroy())
  const wire = new Wire(raw)
  const secrets = new Secrets()
  wire.holds = () => holdFinished && secrets.known
  const socket = tls.connect({
    socket: wire,
    cert: mesh.web.chainPem,
    key: mesh.web.keyPem,
    ca: mesh.root.certPem,
    checkServerIdentity: () => undefined,
    ...settings,
  })
  socket.on('keylog', (line: Buffer) => secrets.take(line))
  await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
  // What it wrote last is on its way to us within this turn of the loop.
  if (holdFinished) await until(() => wire.held.length > 0, 'the last flight')
  return new RecordPeer(wire.leave(), secrets.client, secrets.server, wire.held)
}

/** Stands where an upstream's sidecar would, as db. */
export async function openRecordServer(
  t: TestContext,
  serve: (peer: RecordPeer) => void,
): Promise<{ readonly address: Address; readonly peers: RecordPeer[] }> {
  const peers: RecordPeer[] = []
  const raws: Socket[] = []
  const server = net.createServer({ noDelay: true, allowHalfOpen: true }, raw => {
    raws.push(raw)
    raw.on('error', () => {})
    const wire = new Wire(raw)
    const secrets = new Secrets()
    // The answer to the last flight of the client is tickets: they stay behind, so that our first record is record 0 under its key.
    wire.drops = () => secrets.known && wire.answered
    const socket: TLSSocket = new tls.TLSSocket(wire, {
      isServer: true,
      cert: mesh.db.chainPem,
      key: mesh.db.keyPem,
      ca: mesh.root.certPem,
      requestCert: true,
      ...settings,
    })
    socket.on('error', () => {})
    socket.on('keylog', (line: Buffer) => secrets.take(line))
    socket.once('secure', () => {
      const peer = new RecordPeer(wire.leave(), secrets.server, secrets.client, Buffer.alloc(0))
      peers.push(peer)
      serve(peer)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    for (const raw of raws) raw.destroy()
  })
  return { address: { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port }, peers }
}

class Secrets {
  client = Buffer.alloc(0)
  server = Buffer.alloc(0)

  get known(): boolean {
    return this.client.length > 0 && this.server.length > 0
  }

  take(line: Buffer): void {
    const [label, , secret = ''] = line.toString().trim().split(' ')
    if (label === 'CLIENT_TRAFFIC_SECRET_0') this.client = Buffer.from(secret, 'hex')
    if (label === 'SERVER_TRAFFIC_SECRET_0') this.server = Buffer.from(secret, 'hex')
  }
}

/** The socket as a TLS library has it, until it is taken away from it. */
class Wire extends Duplex {
  holds = () => false
  drops = () => false
  held = Buffer.alloc(0)
  /** Whether the other end has spoken again after what was written here. */
  answered = false
  readonly #raw: Socket
  #wrote = false
  #left = false
  readonly #forward = (chunk: Buffer) => {
    this.answered ||= this.#wrote
    this.push(chunk)
  }

  constructor(raw: Socket) {
    super()
    this.#raw = raw
    raw.on('data', this.#forward)
    raw.on('error', error => this.destroy(error))
    raw.on('close', () => this.destroy())
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.holds()) this.held = Buffer.concat([this.held, chunk])
    else if (!this.#left && !this.drops()) this.#raw.write(chunk)
    this.#wrote = true
    done()
  }

  /** The socket alone; the TLS library hears and says nothing any more. */
  leave(): Socket {
    this.#left = true
    this.#raw.removeAllListeners('data').removeAllListeners('error').removeAllListeners('close')
    return this.#raw
  }
}

/** HKDF-Expand-Label with an empty context, RFC 8446 section 7.1; one block is enough for these lengths. */
function expandLabel(secret: Buffer, label: string, bytes: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  const info = Buffer.concat([Buffer.from([0, bytes, name.length]), name, Buffer.from([0, 1])])
  return createHmac('sha256', secret).update(info).digest().subarray(0, bytes)
}
