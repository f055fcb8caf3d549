// What a server's first flight says of the keys: read from the wire, where it stands in clear (RFC 8446 section 4.1.3).

export interface Agreed {
  /** Number of the group (the TLS Supported Groups registry). */
  readonly group: number
  /** Whether a HelloRetryRequest came before. */
  readonly retried: boolean
}

export const x25519 = 0x001d
export const x25519mlkem768 = 0x11ec

const headerBytes = 5
const handshakeRecord = 22
const serverHello = 2
const keyShareExtension = 51
// SHA-256 of "HelloRetryRequest", in place of a random.
const retryRandom = 'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c'

/** Undefined while no whole ServerHello has come. */
export function agreedBy(flight: Buffer): Agreed | undefined {
  let retried = false
  for (let at = 0; at + headerBytes <= flight.length; ) {
    const record = flight.subarray(at, at + headerBytes + flight.readUInt16BE(at + 3))
    at += headerBytes + flight.readUInt16BE(at + 3)
    if (at > flight.length) return undefined
    if (record[0] !== handshakeRecord || record[headerBytes] !== serverHello) continue
    const hello = record.subarray(headerBytes + 4)
    if (hello.subarray(2, 34).toString('hex') === retryRandom) retried = true
    else return { group: groupOf(hello), retried }
  }
  return undefined
}

function groupOf(hello: Buffer): number {
  const session = hello.readUInt8(34)
  let at = 35 + session + 3 + 2
  while (at + 4 <= hello.length) {
    if (hello.readUInt16BE(at) === keyShareExtension) return hello.readUInt16BE(at + 4)
    at += 4 + hello.readUInt16BE(at + 2)
  }
  throw new Error('got a ServerHello without a key share, expected one of TLS 1.3')
}
