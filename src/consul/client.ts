// Consul's HTTP API as requests and answers: connections, token, headers, errors. Knows no endpoint.
import { buildConnector, Pool } from 'undici'
import { show } from '../config/problem.ts'
import { errorCode, SidespliceError } from '../errors.ts'
import type { AgentAddress } from './agent-address.ts'
import { pause } from './back-off.ts'

/**
 * Connections are counted by the agent, 200 for all that share an address (limits.http_max_conns_per_client), so each kind of
 * call has its own few: watches that block, and short calls that must not wait behind them. Each upstream's watch has one of its own:
 * a pool without a bound opens another whenever a request comes before the last one's connection is free again.
 */
export const lanes = { watch: 4, short: 2 } as const
export type Lane = keyof typeof lanes | OwnLane

/** One connection that nobody else uses. */
export interface OwnLane {
  readonly pool: Pool
  close(): Promise<void>
}

export interface AgentTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly serverName?: string
  readonly verify: boolean
}

export interface ClientOptions {
  readonly address: AgentAddress
  /** Asked for at each request, so that a rotated token is used at once. */
  readonly token: () => string | undefined
  readonly basicAuth?: string
  /** Asked for at each new connection, so that a rotated certificate is used. */
  readonly tls?: () => AgentTls
  readonly datacenter?: string
  readonly stale?: boolean
  readonly namespace?: string
  readonly partition?: string
}

export interface Request {
  readonly lane: Lane
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly body?: object
  /** How long the agent may take to begin its answer. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

export interface Answer {
  readonly status: number
  /** Parsed JSON; text where it is none. */
  readonly body: unknown
  /** X-Consul-Index; 0 where there is none that can be sent back. */
  readonly index: number
  readonly contentHash: string | undefined
  readonly defaultPolicy: string | undefined
  readonly filteredByAcls: boolean
}

// An answer is a list of instances at the most; more than this is no agent.
const maxAnswerBytes = 32 * 1024 * 1024
const bodyTimeoutMs = 30_000
const connectTimeoutMs = 5_000

export class ConsulClient {
  readonly #options: ClientOptions
  readonly #pools: Readonly<Record<keyof typeof lanes, Pool>>
  readonly #own = new Set<Pool>()
  /** While the agent does not answer; aborted when it does again. */
  #away: AbortController | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    this.#pools = { watch: this.#pool(lanes.watch), short: this.#pool(lanes.short) }
  }

  openLane(): OwnLane {
    const pool = this.#pool(1)
    this.#own.add(pool)
    return {
      pool,
      close: () => {
        this.#own.delete(pool)
        return pool.destroy()
      },
    }
  }

  /**
   * One request. Every answer of the agent is returned, whatever its status.
   * @throws SidespliceError `agent_unreachable` where there is no answer, `agent_answer` where it can't be one of an agent
   */
  async send({ lane, path, query = {}, method = 'GET', body, timeoutMs, signal }: Request): Promise<Answer> {
    const { address, datacenter, stale, namespace, partition } = this.#options
    const parameters = new URLSearchParams({
      ...(datacenter !== undefined && { dc: datacenter }),
      ...(namespace !== undefined && { ns: namespace }),
      ...(partition !== undefined && { partition }),
      ...query,
    })
    if (stale === true && method === 'GET') parameters.set('stale', '')
    const search = parameters.toString()
    try {
      const pool = typeof lane === 'string' ? this.#pools[lane] : lane.pool
      const response = await pool.request({
        path: `${address.prefix}${path}${search === '' ? '' : `?${search}`}`,
        method,
        headers: this.#headers(body !== undefined),
        headersTimeout: timeoutMs,
        bodyTimeout: bodyTimeoutMs,
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal ?? null,
      })
      const text = await readText(response.body)
      this.#noteAnswer()
      const header = (name: string) => {
        const value = response.headers[name]
        return Array.isArray(value) ? value[0] : value
      }
      return {
        status: response.statusCode,
        body: parseBody(text),
        index: indexOf(header('x-consul-index')),
        contentHash: header('x-consul-contenthash'),
        defaultPolicy: header('x-consul-default-acl-policy'),
        filteredByAcls: header('x-consul-results-filtered-by-acls') === 'true',
      }
    } catch (cause) {
      if (cause instanceof SidespliceError) throw cause
      if (signal?.aborted !== true) this.#away ??= new AbortController()
      throw new SidespliceError(
        `${method} ${path}: the agent does not answer (${errorCode(cause)} at ${this.place})`,
        {
          source: 'consul',
          code: 'agent_unreachable',
          cause,
        },
      )
    }
  }

  /**
   * For who has failed and backs off: resolves after `ms`, when the signal comes, or as soon as the agent has answered anybody again, so
   * that one watch that finds it back does not leave the others waiting.
   */
  async pauseWhileAway(ms: number, signal: AbortSignal): Promise<void> {
    await pause(ms, this.#away === undefined ? signal : AbortSignal.any([signal, this.#away.signal]))
  }

  /** Where the agent is, for messages. */
  get place(): string {
    return this.#options.address.socketPath ?? this.#options.address.origin
  }

  /** The namespace that is asked about where a request names none. */
  get namespace(): string | undefined {
    return this.#options.namespace
  }

  async close(): Promise<void> {
    await Promise.all([...Object.values(this.#pools), ...this.#own].map(pool => pool.destroy()))
  }

  #noteAnswer(): void {
    this.#away?.abort()
    this.#away = undefined
  }

  #pool(connections: number): Pool {
    const connect: buildConnector.connector = (to, callback) => connectorOf(this.#options)(to, callback)
    return new Pool(this.#options.address.origin, { connections, pipelining: 1, connect })
  }

  #headers(hasBody: boolean): Record<string, string> {
    const token = this.#options.token()
    const { basicAuth } = this.#options
    return {
      accept: 'application/json',
      ...(token !== undefined && { 'x-consul-token': token }),
      ...(basicAuth !== undefined && { authorization: `Basic ${Buffer.from(basicAuth).toString('base64')}` }),
      ...(hasBody && { 'content-type': 'application/json' }),
    }
  }
}

function connectorOf({ address, tls }: ClientOptions): buildConnector.connector {
  const { ca, cert, key, serverName, verify } = tls?.() ?? {}
  return buildConnector({
    timeout: connectTimeoutMs,
    ...(address.socketPath !== undefined && { socketPath: address.socketPath }),
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(serverName !== undefined && { servername: serverName }),
    ...(verify !== undefined && { rejectUnauthorized: verify }),
  })
}

async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > maxAnswerBytes) {
      throw new SidespliceError(`got an answer over ${maxAnswerBytes} bytes`, {
        source: 'consul',
        code: 'agent_answer',
      })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** A decimal number that is exact as one of JavaScript's: Raft has not made as many writes as are beyond that. */
function indexOf(header: string | undefined): number {
  const index = /^\d+$/.test(header ?? '') ? Number(header) : 0
  return Number.isSafeInteger(index) ? index : 0
}

function parseBody(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** What an answer that is none of 200 says, for a log line: its text, cut short. */
export function refusalOf({ status, body }: Answer): string {
  const text = typeof body === 'string' ? body.trim().split('\n')[0] : show(body)
  return `${status} ${(text ?? '').slice(0, 200)}`.trim()
}
