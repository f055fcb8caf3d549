// The load generator's question for one byte, as it lies on the wire (native/load/protocol.h).
const magic = 0x31425353
const verbs = { hello: 1, source: 3 } as const

function message(verb: number, amount: bigint): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32LE(magic, 0)
  bytes.writeUInt32LE(verb, 4)
  bytes.writeBigUInt64LE(amount, 8)
  return bytes
}

export const helloAndByte = Buffer.concat([message(verbs.hello, 0n), message(verbs.source, 1n)])
