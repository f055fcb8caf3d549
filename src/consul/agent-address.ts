// Where the agent's HTTP API is, in the forms that Consul's own clients take.
import { isHost } from '../address.ts'
import { SidespliceError } from '../errors.ts'

export interface AgentAddress {
  /** Scheme, host and port; for a unix socket a placeholder host, since HTTP wants one. */
  readonly origin: string
  readonly socketPath?: string
  /** Path in front of `/v1`, without a slash at its end. */
  readonly prefix: string
  readonly tls: boolean
}

// What the agent listens on; the addresses of a scheme are those of whatever stands before it, with the scheme's own port.
const agentPort = '8500'
const schemePorts: Readonly<Record<string, string>> = { 'http:': '80', 'https:': '443' }

/**
 * `host[:port][/prefix]`, with `http://` or `https://` before it, or `unix:///path` (Consul api package, CONSUL_HTTP_ADDR). Where no
 * port is named a URL means its scheme's own, as in Consul's clients; a bare host means an agent's.
 * @throws SidespliceError `bad_agent_address`
 */
export function parseAgentAddress(text: string, options: { readonly tls: boolean }): AgentAddress {
  const unix = /^unix:(?:\/\/)?(\/.+)$/.exec(text)?.[1]
  if (unix !== undefined) return { origin: 'http://agent', socketPath: unix, prefix: '', tls: false }
  const isUrl = /^[a-z]+:\/\//i.test(text)
  // What asks for TLS goes before a scheme that does not: a token must not leave in clear because of an older address.
  const withScheme = isUrl
    ? text.replace(/^http:/i, options.tls ? 'https:' : 'http:')
    : `${options.tls ? 'https' : 'http'}://${text}`
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined
  const host = url?.hostname.replace(/^\[|\]$/g, '') ?? ''
  if (
    url === undefined ||
    !/^https?:$/.test(url.protocol) ||
    !(isHost(host) || host.includes(':')) ||
    url.search !== ''
  ) {
    const message = `got agent address ${JSON.stringify(text.replace(/\/\/[^/]*@/, '//…@'))}, expected host:port, http(s)://host:port or unix:///path`
    throw new SidespliceError(message, { source: 'consul', code: 'bad_agent_address' })
  }
  // URL drops a port that is the scheme's own.
  const port =
    /:(\d+)(?:\/|$)/.exec(withScheme.slice(withScheme.indexOf('://') + 3))?.[1] ??
    (isUrl ? schemePorts[url.protocol] : agentPort)
  return {
    origin: `${url.protocol}//${url.hostname}:${port}`,
    prefix: url.pathname.replace(/\/+$/, ''),
    tls: url.protocol === 'https:',
  }
}
