// /v1/query: prepared queries.
import type { Json } from '../../consul/shape.ts'
import { queryBody } from '../bodies.ts'
import { object, textOf as wordOf } from '../proxy-block.ts'
import { Refusal } from '../refusal.ts'
import type { Rights } from '../rights.ts'
import type { Row } from '../rows.ts'
import { querySchema } from '../schemas.ts'
import { topicOf } from '../topics.ts'
import type { World } from '../world.ts'
import { blockByIndex, type Call, flagOf, type Reply, require, serverHeaders, textOf } from './call.ts'
import { healthRows } from './catalog-routes.ts'
import type { Route } from './route.ts'

export const queryRoutes: readonly Route[] = [
  {
    path: '/v1/query',
    methods: { GET: { handler: queries }, POST: { handler: createQuery, schema: querySchema } },
  },
  {
    path: '/v1/query/:id',
    methods: {
      GET: { handler: readQuery },
      PUT: { handler: updateQuery, schema: querySchema },
      DELETE: { handler: deleteQuery },
    },
  },
  { path: '/v1/query/:id/execute', methods: { GET: { handler: execute } } },
]

function queries(call: Call): Promise<Reply> {
  return blockByIndex(call, [topicOf.queries], rights => {
    // Those without a name are found by whoever knows their ID, and listed for whoever sees everything.
    const seen = call.world.queries
      .list()
      .filter(({ Name }) => rights.writesTokens || (Name !== '' && rights.readsQuery(Name)))
    return { body: seen.map(queryBody) }
  })
}

function createQuery({ world, body, rights }: Call): Reply {
  require(rights().writesQuery(wordOf(body.Name)))
  return { body: { ID: world.queries.create(body) } }
}

function readQuery({ world, params, rights }: Call): Reply {
  const row = known(world, params.id ?? '')
  require(row.Name === '' || rights().readsQuery(row.Name))
  return { headers: serverHeaders(world), body: [queryBody(row)] }
}

function updateQuery({ world, params, body, rights }: Call): Reply {
  const may = rights()
  // The name that it has, and the one that it gets.
  require(may.writesQuery(world.queries.known(params.id ?? '').Name) && may.writesQuery(wordOf(body.Name)))
  world.queries.update(params.id ?? '', body)
  return {}
}

function deleteQuery({ world, params, rights }: Call): Reply {
  require(rights().writesQuery(world.queries.known(params.id ?? '').Name))
  world.queries.delete(params.id ?? '')
  return {}
}

function execute({ world, params, query, rights }: Call): Reply {
  const row = known(world, params.id ?? '')
  const service = object(row.definition.Service)
  const name = wordOf(service.Service)
  const connect = flagOf(query, 'connect') || service.Connect === true
  const limit = Number(textOf(query, 'limit') || 0)
  if (!Number.isInteger(limit) || limit < 0) throw new Refusal(400, 'Invalid limit')
  const may = rights()
  const rows = may.reads(name) && may.readsNodes ? chosen(world, { name, connect, service }, may) : []
  return {
    headers: { ...serverHeaders(world), 'X-Consul-Index': '1' },
    body: {
      Service: name,
      Nodes: limit > 0 ? rows.slice(0, limit) : rows,
      DNS: { TTL: '', ...object(row.definition.DNS) },
      Datacenter: world.node.datacenter,
      Failovers: 0,
      Index: 0,
      LastContact: 0,
      KnownLeader: true,
      ConsistencyLevel: 'stale',
    },
  }
}

function chosen(
  world: World,
  { name, connect, service }: { readonly name: string; readonly connect: boolean; readonly service: Json },
  rights: Rights,
): readonly Json[] {
  const onlyPassing = service.OnlyPassing === true
  const tags = (service.Tags ?? []) as readonly string[]
  const rows = healthRows(world, { name, connect, passing: onlyPassing }, { rights }).filter(row => {
    const worst = ((row.Checks ?? []) as readonly Json[]).some(({ Status }) => Status === 'critical')
    const has = (object(row.Service).Tags ?? []) as readonly string[]
    // `!tag` is one that must not be there.
    return (
      !worst && tags.every(tag => (tag.startsWith('!') ? !has.includes(tag.slice(1)) : has.includes(tag)))
    )
  })
  return rows.toSorted(() => Math.random() - 0.5)
}

function known(world: World, id: string): Row<'query'> {
  const row = world.queries.find(id)
  if (row === undefined) throw new Refusal(404, 'Query not found')
  return row
}
