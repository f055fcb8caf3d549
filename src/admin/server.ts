// The HTTP side for operators: liveness, readiness, metrics, sessions, state. Read-only, no secrets, GET alone.
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Address, formatAddress } from '../address.ts'
import { errorCode, SidespliceError } from '../errors.ts'

// An import of it would read each of its exports, among them some that load Node's whole fetch: 3 MB and a fifth of the start.
const { createServer } = process.getBuiltinModule('node:http')

export interface AdminSources {
  readonly missing: () => readonly string[]
  readonly metrics: { readonly text: () => Promise<string>; readonly contentType: string }
  readonly sessions: () => readonly object[]
  readonly state: () => object
}

/** `metrics` serves /metrics, /live and /ready alone; `admin` everything. */
export type AdminScope = 'admin' | 'metrics'

// A client that does not send its request makes room soon; Node looks at all limits each `connectionsCheckingInterval`.
const limits = {
  requestTimeout: 10_000,
  headersTimeout: 5_000,
  keepAliveTimeout: 20_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 8_192,
} as const

type Answer = { readonly status: number; readonly type: string; readonly body: string }

// A scraper keeps a connection or two; more is a mistake or an attack, which must not keep a probe from being answered.
const maxConnections = 64

/** @throws SidespliceError `admin_bind_failed` */
export async function serveAdmin(
  scope: AdminScope,
  bind: Address,
  sources: AdminSources,
): Promise<AdminServer> {
  const routes = routesOf(scope, sources)
  const server = createServer(limits, (request, response) => {
    void respond(request, response, routes)
  })
  keepNewest(server)
  try {
    await listen(server, bind)
  } catch (cause) {
    const message = `${scope}: can not listen on ${formatAddress(bind)}: ${errorCode(cause)}`
    throw new SidespliceError(message, { source: 'admin', code: 'admin_bind_failed', cause })
  }
  return new AdminServer(server)
}

export class AdminServer {
  readonly #server: Server

  constructor(server: Server) {
    this.#server = server
  }

  async close(): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve))
    this.#server.closeAllConnections()
    await closed
  }
}

function routesOf(scope: AdminScope, sources: AdminSources): ReadonlyMap<string, () => Promise<Answer>> {
  const routes = new Map<string, () => Promise<Answer>>([
    ['/live', async () => text(200, 'live\n')],
    [
      '/ready',
      async () => {
        const missing = sources.missing()
        return missing.length === 0
          ? text(200, 'ready\n')
          : text(503, `not ready, missing:\n${missing.map(item => `- ${item}\n`).join('')}`)
      },
    ],
    [
      '/metrics',
      async () => ({ status: 200, type: sources.metrics.contentType, body: await sources.metrics.text() }),
    ],
  ])
  if (scope === 'admin') {
    routes.set('/sessions', async () => json(sources.sessions()))
    routes.set('/state', async () => json(sources.state()))
  }
  return routes
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  routes: ReadonlyMap<string, () => Promise<Answer>>,
): Promise<void> {
  const answer = await answerTo(request, routes).catch(error => text(500, `${errorCode(error)}\n`))
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    ...(answer.status === 405 && { allow: 'GET, HEAD' }),
  })
  response.end(request.method === 'HEAD' ? undefined : answer.body)
}

async function answerTo(
  request: IncomingMessage,
  routes: ReadonlyMap<string, () => Promise<Answer>>,
): Promise<Answer> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET is answered here\n')
  const path = (request.url ?? '/').split('?')[0] ?? '/'
  const route = routes.get(path)
  if (route === undefined)
    return text(404, `nothing at this path; there is ${[...routes.keys()].join(', ')}\n`)
  return route()
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body }
}

function json(value: object): Answer {
  return { status: 200, type: 'application/json', body: `${JSON.stringify(value, null, 2)}\n` }
}

/** Past the bound the oldest connection goes, not the newest: connections that idle for long can't take the place of a probe. */
function keepNewest(server: Server): void {
  const open = new Set<Socket>()
  server.on('connection', socket => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    const [oldest] = open
    if (open.size > maxConnections) oldest?.destroy()
  })
}

function listen(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
