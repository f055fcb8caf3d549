// What a schema can't say: listeners that collide, and plaintext that would leave this machine.
import { isIP } from 'node:net'
import {
  type Address,
  formatAddress,
  isHost,
  isLoopback,
  parseAddress,
  parseLocalAddress,
  socketAddress,
} from '../address.ts'
import type { ConfigFile, UpstreamEntry } from './config-file.ts'
import type { PlaceOf, Problem } from './problem.ts'

/** What of a file the schema may have found wrong: a value of any type, anywhere. */
export type Unchecked = Partial<Record<Exclude<keyof ConfigFile, 'inbound'>, unknown>> & {
  readonly inbound?: Partial<Record<keyof NonNullable<ConfigFile['inbound']>, unknown>> | null
}
type UncheckedEntry = Partial<Record<keyof UpstreamEntry, unknown>> | null

// The schema fills it in.
const defaultHost = '127.0.0.1'

/** Passes over what is not even of the right type: the schema has said so. */
export function crossChecks(file: Unchecked, placeOf: PlaceOf): readonly Problem[] {
  return [...places(file, placeOf), ...collisions(file, placeOf), ...exposures(file, placeOf)]
}

/** An upstream is reached at a port or at a socket, never at both or at neither. */
function places(file: Unchecked, placeOf: PlaceOf): Problem[] {
  return entriesOf(file).flatMap((entry, at) => {
    if (typeof entry !== 'object' || entry === null) return []
    const { local_bind_port: port, local_bind_address: host, local_bind_socket_path: path } = entry
    const of = (key: string) => placeOf(`upstreams[${at}].${key}`)
    if (path === undefined && entry.local_bind_socket_mode !== undefined)
      return [
        { ...of('local_bind_socket_mode'), got: 'a mode', expected: 'none without local_bind_socket_path' },
      ]
    if (path === undefined && port === undefined)
      return [{ ...of('local_bind_port'), got: 'nothing', expected: 'this key, or local_bind_socket_path' }]
    const other =
      port !== undefined ? 'local_bind_port' : host !== defaultHost ? 'local_bind_address' : undefined
    if (path === undefined || other === undefined) return []
    return [{ ...of('local_bind_socket_path'), got: 'a path', expected: `none beside ${other}` }]
  })
}

function collisions(file: Unchecked, placeOf: PlaceOf): Problem[] {
  const taken: { readonly key: string; readonly bind: Address }[] = []
  const problems: Problem[] = []
  const take = (key: string, bind: Address | undefined) => {
    if (bind === undefined) return
    const other = taken.find(one => overlaps(one.bind, bind))
    if (other === undefined) taken.push({ key, bind })
    else {
      const { where, key: otherKey = where } = placeOf(other.key)
      problems.push({
        ...placeOf(key),
        got: formatAddress(bind),
        expected: `an address other than that of ${otherKey}`,
      })
    }
  }
  take('inbound.listen', addressOf(file.inbound?.listen))
  entriesOf(file).forEach((entry, at) => {
    const [host, port] = [entry?.local_bind_address, entry?.local_bind_port]
    const path = entry?.local_bind_socket_path
    if (typeof path === 'string') take(`upstreams[${at}].local_bind_socket_path`, socketAddress(path))
    else if (typeof host === 'string' && typeof port === 'number')
      take(`upstreams[${at}].local_bind_port`, { host, port })
  })
  take('admin', addressOf(file.admin))
  take('metrics', addressOf(file.metrics))
  // Connections would go round in a circle.
  take('inbound.local_service_address', addressOf(file.inbound?.local_service_address, parseLocalAddress))
  return problems
}

/** What would speak plaintext, or for this service, beyond this machine needs the operator's word. */
function exposures(file: Unchecked, placeOf: PlaceOf): Problem[] {
  const problems: Problem[] = []
  const require = (key: string, host: string | undefined, flag: string) => {
    if (host === undefined || isLoopback(host)) return
    const expected = `a loopback address, or ${flag} (--${flag.replaceAll('_', '-')})`
    problems.push({ ...placeOf(key), got: JSON.stringify(host), expected })
  }
  if (!file.unsafe_admin) require('admin', addressOf(file.admin)?.host, 'unsafe_admin')
  if (!file.unsafe_local_service) {
    require('inbound.local_service_address', addressOf(file.inbound?.local_service_address, parseLocalAddress)
      ?.host, 'unsafe_local_service')
  }
  if (!file.unsafe_upstream_bind) {
    entriesOf(file).forEach((entry, at) => {
      const host = entry?.local_bind_address
      if (typeof host === 'string' && isHost(host))
        require(`upstreams[${at}].local_bind_address`, host, 'unsafe_upstream_bind')
    })
  }
  return problems
}

function entriesOf({ upstreams }: Unchecked): readonly UncheckedEntry[] {
  return Array.isArray(upstreams) ? upstreams : []
}

function overlaps(one: Address, other: Address): boolean {
  if (one.port !== other.port) return false
  const wildcards = ['0.0.0.0', '::']
  const [host, otherHost] = [canonical(one.host), canonical(other.host)]
  return host === otherHost || wildcards.includes(host) || wildcards.includes(otherHost)
}

/** `localhost` may be either loopback address; 127.0.0.1 is the one that nearly always is meant. */
function canonical(host: string): string {
  if (host.toLowerCase() === 'localhost') return '127.0.0.1'
  // The URL parser writes every form of an IPv6 address in one.
  return isIP(host) === 6 && !host.includes('%') ? new URL(`http://[${host}]`).hostname.slice(1, -1) : host
}

function addressOf(text: unknown, parse = parseAddress): Address | undefined {
  return typeof text === 'string' ? parse(text) : undefined
}
