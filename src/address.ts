// A TCP address as it is written in files, flags and logs: `host:port`, IPv6 in brackets.
import { isIP } from 'node:net'

/** `host` is an IP address without brackets or a host name; `port` is 1 to 65535 (0 only where a test asks the kernel to choose). */
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

/** Whether text is an IPv4 address or a host name; digits and dots alone must be an address. */
export function isHost(text: string): boolean {
  if (isIP(text) !== 0) return true
  return hostName.test(text) && !/^[0-9.]+$/.test(text)
}

export function formatAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/** 127.0.0.0/8, ::1 and the name `localhost` (RFC 6761 section 6.3): reachable from this machine only. */
export function isLoopback(host: string): boolean {
  return (
    /^127\.\d+\.\d+\.\d+$/.test(host) ||
    /^(0*:){2,7}0*1$/.test(host) ||
    host === '::1' ||
    host.toLowerCase() === 'localhost'
  )
}
