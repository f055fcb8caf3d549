// How the agent is reached: Consul's flags and variables, as its own clients read them.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Option } from 'commander'
import { parseAgentAddress } from '../consul/agent-address.ts'
import type { ClientOptions } from '../consul/client.ts'
import { errorCode, SidespliceError } from '../errors.ts'

const flags = [
  [
    '--http-addr <address>',
    'Consul agent: host:port, http(s)://host:port or unix:///path (default 127.0.0.1:8500)',
    'CONSUL_HTTP_ADDR',
  ],
  [
    '--token <token>',
    'ACL token; better --token-file, as a command line can be read by others',
    'CONSUL_HTTP_TOKEN',
  ],
  [
    '--token-file <file>',
    'file that holds the ACL token; read again when it changes',
    'CONSUL_HTTP_TOKEN_FILE',
  ],
  ['--ca-file <file>', "PEM roots to verify the agent's HTTPS by", 'CONSUL_CACERT'],
  ['--ca-path <folder>', 'folder of such files', 'CONSUL_CAPATH'],
  ['--client-cert <file>', 'PEM certificate to show the agent', 'CONSUL_CLIENT_CERT'],
  ['--client-key <file>', 'PEM key of that certificate', 'CONSUL_CLIENT_KEY'],
  ['--tls-server-name <name>', "name to expect in the agent's certificate", 'CONSUL_TLS_SERVER_NAME'],
  ['--datacenter <name>', "datacenter to ask about (default the agent's own)", undefined],
  ['--stale', 'let any server answer, not only the leader', undefined],
] as const

export function agentOptions(): readonly Option[] {
  return flags.map(
    ([flag, description, variable]) =>
      new Option(flag, variable === undefined ? description : `${description} [${variable}]`),
  )
}

export interface AgentValues {
  readonly httpAddr?: string
  readonly token?: string
  readonly tokenFile?: string
  readonly caFile?: string
  readonly caPath?: string
  readonly clientCert?: string
  readonly clientKey?: string
  readonly tlsServerName?: string
  readonly datacenter?: string
  readonly stale?: boolean
}

/** @throws SidespliceError `bad_agent_address`, `agent_file` */
export function clientOptions(values: AgentValues, env: NodeJS.ProcessEnv): ClientOptions {
  const given = (flag: string | undefined, variable: string) => flag ?? (env[variable] || undefined)
  const isTrue = (variable: string) => ['1', 't', 'true'].includes((env[variable] ?? '').toLowerCase())
  const address = parseAgentAddress(given(values.httpAddr, 'CONSUL_HTTP_ADDR') ?? '127.0.0.1:8500', {
    tls: isTrue('CONSUL_HTTP_SSL'),
  })
  const tokenFile = given(values.tokenFile, 'CONSUL_HTTP_TOKEN_FILE')
  // A variable that is set to nothing says nothing.
  const token =
    values.token ?? (env.CONSUL_HTTP_TOKEN || env.CONNECT_PROXY_TOKEN || env.CONSUL_PROXY_TOKEN || undefined)
  requireWord('--token, or a variable that stands for it', token ?? '')
  const caFile = given(values.caFile, 'CONSUL_CACERT')
  const caPath = given(values.caPath, 'CONSUL_CAPATH')
  const cert = given(values.clientCert, 'CONSUL_CLIENT_CERT')
  const key = given(values.clientKey, 'CONSUL_CLIENT_KEY')
  const serverName = given(values.tlsServerName, 'CONSUL_TLS_SERVER_NAME')
  const ca =
    caFile !== undefined
      ? rereadable(() => rootsIn(caFile, readText(caFile)))
      : caPath !== undefined
        ? rereadable(() => rootsIn(caPath, readFolder(caPath)))
        : undefined
  const pair =
    cert !== undefined || key !== undefined
      ? rereadable(() => ({
          ...(cert !== undefined && { cert: readText(cert) }),
          ...(key !== undefined && { key: readText(key) }),
        }))
      : undefined
  return {
    address,
    token: tokenFile === undefined ? () => token || undefined : tokenReader(tokenFile, token),
    ...(address.tls && {
      tls: () => ({
        // Only what means no: a word that is not known must not send the token to whoever answers.
        verify: !['0', 'f', 'false'].includes((env.CONSUL_HTTP_SSL_VERIFY ?? '').toLowerCase()),
        ...(ca !== undefined && { ca: ca() }),
        ...pair?.(),
        ...(serverName !== undefined && { serverName }),
      }),
    }),
    ...(env.CONSUL_HTTP_AUTH && { basicAuth: withColon(env.CONSUL_HTTP_AUTH) }),
    ...(values.datacenter !== undefined && { datacenter: values.datacenter }),
    ...(values.stale === true && { stale: true }),
    ...(env.CONSUL_NAMESPACE && { namespace: env.CONSUL_NAMESPACE }),
    ...(env.CONSUL_PARTITION && { partition: env.CONSUL_PARTITION }),
  }
}

/** What no header can hold would read as an agent that does not answer. The text itself is never shown. */
function requireWord(place: string, token: string): string {
  if (/^[!-~]*$/.test(token)) return token
  throw new SidespliceError(
    `${place}: got a token of several words or lines, or with characters beyond ASCII; expected one word`,
    { source: 'cli', code: 'agent_file' },
  )
}

/** `user:password`, or a user alone, whose password is empty then (RFC 7617: the colon is always there). */
function withColon(auth: string): string {
  return auth.includes(':') ? auth : `${auth}:`
}

/** The file's token goes before any other where it is not empty. Read at each request: a few bytes, beside an HTTP call. */
function tokenReader(file: string, other: string | undefined): () => string | undefined {
  let last = ''
  const read = rereadable(() => requireWord(file, readText(file).trim()))
  return () => {
    last = read() || last
    return last || other || undefined
  }
}

/**
 * What is read now must be readable; later the last reading stands in where a file is just being replaced.
 * @throws SidespliceError `agent_file`
 */
function rereadable<T>(read: () => T): () => T {
  let last = read()
  return () => {
    try {
      last = read()
    } catch {
      // The last one is as good as any.
    }
    return last
  }
}

function readFolder(folder: string): string {
  return readdirSync(folder)
    .filter(name => /\.(pem|crt|cer)$/.test(name))
    .map(name => readText(join(folder, name)))
    .join('\n')
}

/** Without a root of its own TLS takes those of the public: an agent of anybody's would verify, and be told the token. */
function rootsIn(place: string, pem: string): string {
  if (/-----BEGIN (TRUSTED )?CERTIFICATE-----/.test(pem)) return pem
  throw new SidespliceError(
    `${place}: got no PEM certificate, expected a file with roots, or a folder of such files that end in .pem, .crt or .cer`,
    { source: 'cli', code: 'agent_file' },
  )
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new SidespliceError(`${file}: got ${errorCode(cause)}, expected a file that can be read`, {
      source: 'cli',
      code: 'agent_file',
      cause,
    })
  }
}
