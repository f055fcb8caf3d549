// Addresses and upstreams as Consul's flags write them: `[HOST]:PORT` and `NAME[.TYPE]:[ADDRESS:]PORT`.
import { type Address, isHost } from '../address.ts'
import { ConfigError, type Problem, show } from './problem.ts'

export interface UpstreamFlag {
  /** The flag with its value: what problems call it by. */
  readonly where: string
  readonly type: 'service' | 'prepared_query'
  readonly name: string
  readonly bind: Address
}

const upstreamForm = 'name[.service|.query]:[address:]port, IPv6 in brackets'
const addressForm = '[host]:port with a port of 1 to 65535, IPv6 in brackets'

/** @throws ConfigError */
export function parseUpstreamFlag(text: string): UpstreamFlag {
  const where = '--upstream'
  const colon = text.indexOf(':')
  const [target, place] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  const dot = target.indexOf('.')
  const [name, type] = dot < 0 ? [target, ''] : [target.slice(0, dot), target.slice(dot + 1)]
  if (!isServiceName(name) || place === '') throw refused({ where, got: show(text), expected: upstreamForm })
  if (type !== '' && type !== 'service' && type !== 'query') {
    const expected = `.service, .query or nothing between ${name} and its colon`
    throw refused({ where, got: show(text), expected })
  }
  // A port alone stands at 127.0.0.1, as does one behind an empty address.
  const bind = hostAndPort(place.includes(':') ? place : `:${place}`, '127.0.0.1')
  if (bind === undefined) {
    throw refused({ where, got: show(text), expected: `${upstreamForm}, with a port of 1 to 65535` })
  }
  return {
    where: `${where} ${text}`,
    type: type === 'query' ? 'prepared_query' : 'service',
    name,
    bind,
  }
}

/** What may be a path segment of URLs and SPIFFE IDs, and stand in a log line as it is. */
export function isServiceName(text: string): boolean {
  return /^[^\s/\p{C}]+$/u.test(text)
}

/**
 * The value of an address flag; `emptyHost` is what no host means there.
 * @throws ConfigError
 */
export function parseAddressFlag(where: string, text: string, emptyHost: string): Address {
  const address = hostAndPort(text, emptyHost)
  if (address === undefined) throw refused({ where, got: show(text), expected: addressForm })
  return address
}

function hostAndPort(text: string, emptyHost: string): Address | undefined {
  const [, bracketed, plain = '', digits = ''] = /^(?:\[([^\]]+)\]|([^:[\]]*)):([^:]+)$/.exec(text) ?? []
  const port = portOf(digits)
  if (port === undefined) return undefined
  if (bracketed !== undefined)
    return bracketed.includes(':') && isHost(bracketed) ? { host: bracketed, port } : undefined
  if (plain === '') return { host: emptyHost, port }
  return isHost(plain) ? { host: plain, port } : undefined
}

/**
 * Decimal, or with Go's prefixes 0x, 0o and 0b (strconv with base 0). A bare zero in front, octal there and decimal to everybody
 * else, is neither.
 */
function portOf(digits: string): number | undefined {
  if (!/^([1-9][0-9]*|0x[0-9a-f]+|0o[0-7]+|0b[01]+)$/i.test(digits)) return undefined
  const port = Number(digits)
  return port >= 1 && port <= 65_535 ? port : undefined
}

function refused(problem: Problem): ConfigError {
  return new ConfigError([problem])
}
