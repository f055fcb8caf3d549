// /v1/connect: the CA and the intentions.
import type { ValidateFunction } from 'ajv'
import type { Json } from '../../consul/shape.ts'
import { intentionBody } from '../bodies.ts'
import { canonical, checker, decodeFailure } from '../canonical.ts'
import { isUuid } from '../intention-rules.ts'
import { Refusal } from '../refusal.ts'
import type { Rights } from '../rights.ts'
import { authorityConfigSchema, authoritySchema, intentionSchema } from '../schemas.ts'
import { topicOf } from '../topics.ts'
import { roots as agentRoots } from './agent-routes.ts'
import {
  blockByIndex,
  type Call,
  denied,
  flagOf,
  type Reply,
  require,
  serverHeaders,
  textOf,
} from './call.ts'
import type { Route } from './route.ts'

export const connectRoutes: readonly Route[] = [
  { path: '/v1/connect/ca/roots', methods: { GET: { handler: roots } } },
  {
    path: '/v1/connect/ca/configuration',
    methods: { GET: { handler: configuration }, PUT: { handler: configure, schema: authoritySchema } },
  },
  {
    path: '/v1/connect/intentions',
    methods: { GET: { handler: list }, POST: { handler: create, schema: intentionSchema } },
  },
  { path: '/v1/connect/intentions/match', methods: { GET: { handler: match } } },
  { path: '/v1/connect/intentions/check', methods: { GET: { handler: check } } },
  {
    path: '/v1/connect/intentions/exact',
    methods: {
      GET: { handler: exact },
      PUT: { handler: putExact, schema: intentionSchema },
      DELETE: { handler: deleteExact },
    },
  },
  {
    path: '/v1/connect/intentions/:id',
    methods: {
      GET: { handler: read },
      PUT: { handler: update, schema: intentionSchema },
      DELETE: { handler: remove },
    },
  },
]

function roots(call: Call): Reply | Promise<Reply> {
  if (!flagOf(call.query, 'pem')) return agentRoots(call)
  const pem = call.world.authority.roots().map(({ certPem }) => certPem)
  return { text: pem.join(''), type: 'application/pem-certificate-chain' }
}

function configuration({ world, rights }: Call): Reply {
  // Reading as well: in Consul it shows the CA's key.
  require(rights().writesOperator)
  return { body: world.authority.configuration() }
}

const checkConfig: ValidateFunction = checker(authorityConfigSchema)

async function configure({ world, body, rights }: Call): Promise<Reply> {
  require(rights().writesOperator)
  if (body.Provider !== undefined && body.Provider !== 'consul')
    throw new Refusal(
      400,
      `Provider: got ${JSON.stringify(body.Provider)}, expected "consul": others are not there`,
    )
  if (body.ForceWithoutCrossSigning === true)
    throw new Refusal(
      400,
      'ForceWithoutCrossSigning: got true, expected false: a new root is always cross-signed here',
    )
  const config = canonical(body.Config ?? {}, authorityConfigSchema) as Json
  const [error] = checkConfig(config) ? [] : (checkConfig.errors ?? [])
  if (error !== undefined) throw new Refusal(400, decodeFailure(error))
  await world.authority.configure(config)
  return {}
}

/** An intention is seen by whoever may see those of an end of it. */
function mayRead(
  rights: Rights,
  row: { readonly SourceName: string; readonly DestinationName: string },
): boolean {
  return rights.readsIntentions(row.SourceName) || rights.readsIntentions(row.DestinationName)
}

function list(call: Call): Promise<Reply> {
  return blockByIndex(call, [topicOf.intentions], rights => ({
    body: call.world.intentions
      .list()
      .filter(row => mayRead(rights, row))
      .map(intentionBody),
  }))
}

function create({ world, body, rights }: Call): Reply {
  require(rights().writesIntentions(destinationOf(body)))
  return { body: { ID: world.intentions.create(body) } }
}

/** Whoever decides who reaches a service decides about it. */
function destinationOf({ DestinationName }: Json): string {
  return typeof DestinationName === 'string' ? DestinationName : ''
}

function match(call: Call): Promise<Reply> {
  const by = textOf(call.query, 'by')
  if (by !== 'source' && by !== 'destination')
    throw new Refusal(400, `'by' must be one of 'source' or 'destination', got ${JSON.stringify(by)}`)
  const names = [call.query.name ?? []].flat().map(name => String(name))
  if (names.length === 0) throw new Refusal(400, "required query parameter 'name' not set")
  const plain = names.map(nameOf)
  return blockByIndex(call, [topicOf.intentions], rights => {
    require(plain.every(name => rights.readsIntentions(name)))
    const lists = names.map((name, at) => [
      name,
      call.world.intentions.match(by, plain[at] ?? '').map(intentionBody),
    ])
    return { body: Object.fromEntries(lists) }
  })
}

/** `default/web` is `web`. */
function nameOf(text: string): string {
  const [namespace, name] = text.includes('/') ? text.split('/') : ['default', text]
  if (namespace !== 'default' || name === undefined || name === '')
    throw new Refusal(
      400,
      `got name ${JSON.stringify(text)}, expected a service, in the namespace "default" if any`,
    )
  return name
}

function ends({ query }: Call): readonly [source: string, destination: string] {
  const [source, destination] = [textOf(query, 'source'), textOf(query, 'destination')]
  if (source === '') throw new Refusal(400, "required query parameter 'source' not set")
  if (destination === '') throw new Refusal(400, "required query parameter 'destination' not set")
  return [nameOf(source), nameOf(destination)]
}

function check(call: Call): Reply {
  const [source, destination] = ends(call)
  require(call.rights().asksAbout(destination))
  const { allowed } = call.world.intentions.decide(source, destination, call.world.tokens.defaultAction)
  return { headers: serverHeaders(call.world), body: { Allowed: allowed } }
}

function exact(call: Call): Reply {
  const [source, destination] = ends(call)
  const row = call.world.intentions.exact(source, destination)
  if (row === undefined) throw new Refusal(404, 'Intention not found')
  if (!mayRead(call.rights(), row)) throw denied()
  return { headers: serverHeaders(call.world), body: intentionBody(row) }
}

function putExact(call: Call): Reply {
  const [source, destination] = ends(call)
  require(call.rights().writesIntentions(destination))
  call.world.intentions.upsert(source, destination, { ...call.body, ID: '' })
  return { body: true }
}

function deleteExact(call: Call): Reply {
  const [source, destination] = ends(call)
  require(call.rights().writesIntentions(destination))
  const row = call.world.intentions.exact(source, destination)
  if (row !== undefined) call.world.intentions.delete(row.ID)
  return { body: true }
}

function read({ world, params, rights }: Call): Reply {
  const { id = '' } = params
  if (!isUuid(id))
    throw new Refusal(400, 'Bad request: failed intention lookup: index error: UUID must be 36 characters')
  const row = world.intentions.get(id)
  if (row === undefined) throw new Refusal(404, 'Intention not found')
  if (!mayRead(rights(), row)) throw denied()
  return {
    headers: { ...serverHeaders(world), 'X-Consul-Index': String(row.ModifyIndex) },
    body: intentionBody(row),
  }
}

function update({ world, params, body, rights }: Call): Reply {
  const { id = '' } = params
  const may = rights()
  require(may.writesIntentions(destinationOf(body)))
  const before = world.intentions.get(id)
  if (before !== undefined) require(may.writesIntentions(before.DestinationName))
  world.intentions.update(id, body)
  return { body: { ID: id } }
}

function remove({ world, params, rights }: Call): Reply {
  const { id = '' } = params
  const may = rights()
  const before = world.intentions.get(id)
  if (before !== undefined) require(may.writesIntentions(before.DestinationName))
  world.intentions.delete(id)
  return { body: true }
}
