// The formats that the shipped schema names, and what is said where a value is not of one.
import { isFileMode, isHost, isSocketPath, parseAddress, parseLocalAddress } from '../address.ts'
import { parseSpiffeId, parseSpiffePattern } from '../identity/spiffe-id.ts'
import { parseBytes } from './bytes.ts'

// A few records for each of some workers: the schema's minimum, for text.
const leastBufferMemory = 4 * 1024 * 1024

export const formats = {
  address: {
    check: (text: string) => parseAddress(text) !== undefined,
    expected: 'host:port with a port of 1 to 65535, IPv6 in brackets',
  },
  'local-address': {
    check: (text: string) => parseLocalAddress(text) !== undefined,
    expected: 'host:port with a port of 1 to 65535, IPv6 in brackets, or unix: and an absolute path',
  },
  'socket-path': { check: isSocketPath, expected: 'an absolute path of at most 107 bytes' },
  'file-mode': { check: isFileMode, expected: 'a mode in octal digits, as "0660"' },
  bytes: {
    check: (text: string) => (parseBytes(text) ?? 0) >= leastBufferMemory,
    expected: 'at least 4194304 bytes, as a number or one with KiB, MiB or GiB behind it',
  },
  host: { check: isHost, expected: 'an IP address or a host name' },
  'spiffe-id': {
    check: parses(parseSpiffeId),
    expected: 'a SPIFFE ID, spiffe://<trust domain>/<path>, without *',
  },
  'spiffe-pattern': {
    check: parses(parseSpiffePattern),
    expected: 'a SPIFFE ID, spiffe://<trust domain>/<path>, in which * may stand for one whole path segment',
  },
} as const

/** By name, as ajv takes them. */
export const formatChecks = Object.fromEntries(
  Object.entries(formats).map(([name, { check }]) => [name, check]),
)

function parses(parse: (text: string) => unknown): (text: string) => boolean {
  return text => {
    try {
      parse(text)
      return true
    } catch {
      return false
    }
  }
}
