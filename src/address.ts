// An address as it is written in files, flags and logs: `host:port`, IPv6 in brackets; on this machine also `unix:` and the path of a socket.
import { isIP } from 'node:net'

/**
 * `host` is an IP address without brackets or a host name; `port` is 1 to 65535 (0 only where a test asks the kernel to choose). Of a unix socket
 * `host` is `unix:` and its absolute path, and `port` 0.
 */
export interface Address {
  readonly host: string
  readonly port: number
}

const hostName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?$/i

/** Parses `host:port`; undefined where it is not of that form. An empty host is not one. */
export function parseAddress(text: string): Address | undefined {
  const parts = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text)
  if (parts === null) return undefined
  const [, bracketed, plain, digits] = parts
  const port = Number(digits)
  if (port < 1 || port > 65535) return undefined
  if (bracketed !== undefined) return isIP(bracketed) === 6 ? { host: bracketed, port } : undefined
  return plain !== undefined && isHost(plain) ? { host: plain, port } : undefined
}

const unix = 'unix:'
// sun_path of unix(7), less the zero at its end.
const longestSocketPath = 107

/** An absolute path that a unix socket can have. */
export function isSocketPath(text: string): boolean {
  return /^\/[^\0]*[^\0/]$/.test(text) && Buffer.byteLength(text) <= longestSocketPath
}

/** Permissions of a file in octal digits, as `0660`. */
export function isFileMode(text: string): boolean {
  return /^0?[0-7]{3}$/.test(text)
}

export function socketAddress(path: string): Address {
  return { host: `${unix}${path}`, port: 0 }
}

/** The path of a unix socket's address; undefined for one of TCP. */
export function socketPathOf({ host }: Address): string | undefined {
  return host.startsWith(unix) ? host.slice(unix.length) : undefined
}

/** What can be reached on this machine: `host:port`, or `unix:` and an absolute path. */
export function parseLocalAddress(text: string): Address | undefined {
  if (!text.startsWith(unix)) return parseAddress(text)
  const path = text.slice(unix.length)
  return isSocketPath(path) ? socketAddress(path) : undefined
}

/** Whether text is an IPv4 address or a host name; digits and dots alone must be an address. */
export function isHost(text: string): boolean {
  if (isIP(text) !== 0) return true
  return hostName.test(text) && !/^[0-9.]+$/.test(text)
}

export function formatAddress(address: Address): string {
  if (socketPathOf(address) !== undefined) return address.host
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** 127.0.0.0/8, ::1, the name `localhost` (RFC 6761 section 6.3) and unix sockets: reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return (
    /^127\.\d+\.\d+\.\d+$/.test(host) ||
    /^(0*:){2,7}0*1$/.test(host) ||
    host === '::1' ||
    host.startsWith(unix) ||
    host.toLowerCase() === 'localhost'
  )
}
