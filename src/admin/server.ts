// The HTTP side for operators: liveness, readiness, metrics, sessions, state. Read-only, no secrets, GET alone.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type Address, formatAddress } from '../address.ts'
import { errorCode, SidespliceError } from '../errors.ts'

export interface AdminSources {
  readonly missing: () => readonly string[]
  readonly metrics: { readonly text: () => Promise<string>; readonly contentType: string }
  readonly sessions: () => readonly object[]
  readonly state: () => object
}

/** `metrics` serves /metrics, /live and /ready alone; `admin` everything. */
export type AdminScope = 'admin' | 'metrics'

type Answer = { readonly status: number; readonly type: string; readonly body: string }

// A scraper keeps a connection or two; more is a mistake or an attack.
const maxConnections = 64

/** @throws SidespliceError `admin_bind_failed` */
export async function serveAdmin(
  scope: AdminScope,
  bind: Address,
  sources: AdminSources,
): Promise<AdminServer> {
  const routes = routesOf(scope, sources)
  const server = createServer(
    { requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 65_000, maxHeaderSize: 8192 },
    (request, response) => {
      void respond(request, response, routes)
    },
  )
  server.maxConnections = maxConnections
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

function listen(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
