// The HTTP API on fastify: routes to handlers, refusals to statuses, and nothing of our insides in any answer.

import { Server } from 'node:https'
import { isIP } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import type { ErrorObject } from 'ajv'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { type Address, isLoopback } from '../../address.ts'
import type { Json } from '../../consul/shape.ts'
import { errorCode, SidespliceError } from '../../errors.ts'
import type { Log } from '../../proxy/log.ts'
import { ajv, canonical, decodeFailure } from '../canonical.ts'
import { Refusal } from '../refusal.ts'
import type { Schema } from '../schemas.ts'
import type { World } from '../world.ts'
import { aclRoutes } from './acl-routes.ts'
import { agentRoutes } from './agent-routes.ts'
import type { Call, Query, Reply } from './call.ts'
import { textOf } from './call.ts'
import { catalogRoutes } from './catalog-routes.ts'
import { checkRoutes } from './check-routes.ts'
import { connectRoutes } from './connect-routes.ts'
import { metricsRoutes } from './metrics-routes.ts'
import { queryRoutes } from './query-routes.ts'
import type { Method, Operation, Route } from './route.ts'

export const routes: readonly Route[] = [
  ...agentRoutes,
  ...metricsRoutes,
  ...checkRoutes,
  ...catalogRoutes,
  ...queryRoutes,
  ...connectRoutes,
  ...aclRoutes,
]

// Consul's own bound is larger for KV alone; a registration of this size is somebody's mistake.
const mostBodyBytes = 512 * 1_024
// Names go into paths, and may be as long as a SPIFFE ID allows.
const mostParamLength = 2_048
// A request that is not there after this long, headers and all, is cut: blocking is done by the answer.
const requestTimeoutMs = 30_000
// Told to clients, who then close what they do not use: without it each would hold idle connections for more than a minute.
const keepAliveMs = 10_000
const methods: readonly Method[] = ['GET', 'PUT', 'POST', 'DELETE']

export interface ApiServer {
  readonly address: Address
  /** What new connections are shaken hands with. */
  setContext(context: SecureContextOptions): void
  close(): Promise<void>
}

export interface ServeOptions {
  readonly log: Log
  /** With a `ca` clients have to show a certificate. Plain HTTP without it. */
  readonly tls?: SecureContextOptions
}

/** @throws SidespliceError `agent_bind_failed` */
export async function serveApi(world: World, at: Address, { log, tls }: ServeOptions): Promise<ApiServer> {
  const stopping = new AbortController()
  const verifies = tls?.ca !== undefined
  const app: FastifyInstance = fastify({
    ...(tls !== undefined && {
      https: {
        ...tls,
        requestCert: verifies,
        rejectUnauthorized: verifies,
        handshakeTimeout: requestTimeoutMs,
      },
    }),
    bodyLimit: mostBodyBytes,
    requestTimeout: requestTimeoutMs,
    keepAliveTimeout: keepAliveMs,
    // A blocked call ends by itself as soon as we stop; what is left is cut.
    forceCloseConnections: true,
    routerOptions: { maxParamLength: mostParamLength },
    exposeHeadRoutes: false,
  })
  app.addHook('onRequest', async request => refuseWebPages(request, isLoopback(at.host)))
  prepareBodies(app)
  for (const route of routes) addRoute(app, route, { world, signal: stopping.signal, log })
  app.setNotFoundHandler((_request, reply) => reply.code(404).type('text/plain').send(''))
  app.setErrorHandler((error, request, reply) => refuse(error, request, { reply, log }))
  try {
    await app.listen({ host: at.host, port: at.port })
  } catch (cause) {
    await app.close()
    throw new SidespliceError(
      `${tls === undefined ? 'http' : 'https'} ${at.host}:${at.port}: got ${errorCode(cause)}, expected an address that can be listened on`,
      { source: 'agent', code: 'agent_bind_failed', cause },
    )
  }
  const bound = app.server.address()
  return {
    address: { host: at.host, port: typeof bound === 'object' && bound !== null ? bound.port : at.port },
    setContext(context) {
      const { server } = app
      if (server instanceof Server) server.setSecureContext(context)
    },
    async close() {
      stopping.abort()
      await app.close()
    },
  }
}

/**
 * A page in a browser of this machine can send requests here: to our address, which its browser marks by `Origin`, or to a name of its own that
 * it has let resolve to our address. Neither is answered; Consul's clients send no origin, and on loopback name an address.
 */
function refuseWebPages({ headers }: FastifyRequest, onLoopback: boolean): void {
  if (headers.origin !== undefined || headers['sec-fetch-site'] !== undefined)
    throw new Refusal(403, 'got a request of a web page, expected one of a program')
  const host = (headers.host ?? '').replace(/:[0-9]+$/, '').replace(/^\[(.*)\]$/, '$1')
  if (onLoopback && isIP(host) === 0 && host.toLowerCase() !== 'localhost')
    throw new Refusal(403, 'got another name in Host, expected localhost or an address')
}

/** JSON whatever the request calls it: Consul's clients name no type. */
function prepareBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, text, done) => {
    try {
      done(null, text === '' ? undefined : JSON.parse(String(text)))
    } catch {
      // Of the parser's words the position is left out, and what stands there: it may be a token.
      done(new Refusal(400, 'Request decode failed: the body is not JSON'))
    }
  })
  app.setValidatorCompiler<Schema>(({ schema }) => ajv.compile(schema))
  app.setSchemaErrorFormatter(errors => new Refusal(400, decodeFailure(errors[0] as ErrorObject)))
}

interface Surroundings {
  readonly world: World
  readonly signal: AbortSignal
  readonly log: Log
}

function addRoute(app: FastifyInstance, { path, methods: operations }: Route, around: Surroundings): void {
  for (const method of methods) {
    const operation = operations[method]
    if (operation !== undefined) addOperation(app, { method, path, operation }, around)
  }
  const others = methods.filter(method => operations[method] === undefined)
  app.route({
    method: others,
    url: path,
    handler: (request, reply) =>
      reply
        .code(405)
        .header('allow', Object.keys(operations).join(','))
        .type('text/plain')
        .send(`method ${request.method} not allowed`),
  })
}

function addOperation(
  app: FastifyInstance,
  {
    method,
    path,
    operation,
  }: { readonly method: Method; readonly path: string; readonly operation: Operation },
  { world, signal, log }: Surroundings,
): void {
  const { schema, handler } = operation
  app.route({
    method,
    url: path,
    ...(schema !== undefined && { schema: { body: schema } }),
    preValidation: (request, _reply, done) => {
      if (schema !== undefined) request.body = bodyOf(request.body, schema)
      done()
    },
    async handler(request, reply) {
      const gone = new AbortController()
      request.raw.socket.once('close', abort)
      try {
        const call: Call = {
          world,
          params: request.params as Record<string, string>,
          query: request.query as Query,
          body: (request.body ?? {}) as Json,
          rights: () => world.tokens.rightsOf(secretOf(request)),
          signal: AbortSignal.any([signal, gone.signal]),
        }
        return send(reply, await handler(call), flagged(call.query))
      } finally {
        request.raw.socket.off('close', abort)
        log.debug({ method, url: urlOf(request) }, 'Request finished')
      }
      function abort() {
        gone.abort()
      }
    },
  })
}

function flagged(query: Query): boolean {
  return query.pretty !== undefined
}

function bodyOf(body: unknown, schema: Schema): unknown {
  if (body === undefined || body === null) throw new Refusal(400, 'Request decode failed: EOF')
  return canonical(body, schema)
}

function send(
  reply: FastifyReply,
  { status = 200, headers = {}, body, text, type }: Reply,
  pretty: boolean,
): FastifyReply {
  reply.code(status).headers({ vary: 'Accept-Encoding', ...headers })
  if (text !== undefined) return reply.type(type ?? 'text/plain').send(text)
  if (body === undefined) return reply.send()
  const json = JSON.stringify(body, null, pretty ? 4 : undefined)
  // Go writes these so, and a browser that takes JSON for a page finds no tag in it.
  return reply.type('application/json').send(json.replace(/[<>&]/g, escaped))
}

function escaped(character: string): string {
  return `\\u00${character.charCodeAt(0).toString(16)}`
}

/** By header, as a bearer, or in the query. */
function secretOf(request: FastifyRequest): string {
  const header = request.headers['x-consul-token']
  if (typeof header === 'string' && header !== '') return header
  const [, bearer] = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '') ?? []
  return bearer ?? textOf(request.query as Query, 'token')
}

/** As the log may have it. */
function urlOf({ url }: FastifyRequest): string {
  return url.replace(/([?&]token=)[^&]*/g, '$1<hidden>')
}

function refuse(
  error: unknown,
  request: FastifyRequest,
  { reply, log }: { readonly reply: FastifyReply; readonly log: Log },
): FastifyReply {
  const plain = (status: number, text: string) => reply.code(status).type('text/plain').send(text)
  if (error instanceof Refusal) {
    log.debug(
      { method: request.method, url: urlOf(request), status: error.status, error: error.message },
      'Request error',
    )
    return plain(error.status, error.message)
  }
  const { statusCode = 500, message } = error as { readonly statusCode?: number; readonly message?: string }
  // fastify's own: a body that is too large, a URL that does not decode.
  if (statusCode >= 400 && statusCode < 500) return plain(statusCode, message ?? 'bad request')
  log.error(
    {
      method: request.method,
      url: urlOf(request),
      error: error instanceof Error ? error.stack : String(error),
    },
    'a call failed',
  )
  return plain(500, 'internal error')
}
