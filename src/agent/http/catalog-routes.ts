// /v1/health, /v1/catalog, /v1/discovery-chain and /v1/status: what is found by name.
import type { Json } from '../../consul/shape.ts'
import { catalogBody, checkBody, healthBody } from '../bodies.ts'
import { nodeBody } from '../node.ts'
import type { Rights } from '../rights.ts'
import { nodeTopic, topicOf } from '../topics.ts'
import type { World } from '../world.ts'
import {
  blockByIndex,
  type Call,
  denied,
  flagOf,
  type Reply,
  requireDatacenter,
  serverHeaders,
} from './call.ts'
import type { Route } from './route.ts'

export const catalogRoutes: readonly Route[] = [
  { path: '/v1/health/service/:name', methods: { GET: { handler: health } } },
  { path: '/v1/health/connect/:name', methods: { GET: { handler: call => health(call, true) } } },
  { path: '/v1/health/checks/:name', methods: { GET: { handler: checks } } },
  { path: '/v1/catalog/services', methods: { GET: { handler: names } } },
  { path: '/v1/catalog/nodes', methods: { GET: { handler: nodes } } },
  { path: '/v1/catalog/datacenters', methods: { GET: { handler: datacenters } } },
  { path: '/v1/catalog/service/:name', methods: { GET: { handler: catalog } } },
  { path: '/v1/catalog/connect/:name', methods: { GET: { handler: call => catalog(call, true) } } },
  {
    path: '/v1/status/leader',
    methods: { GET: { handler: ({ world }) => ({ body: `${world.node.address}:8300` }) } },
  },
  {
    path: '/v1/status/peers',
    methods: { GET: { handler: ({ world }) => ({ body: [`${world.node.address}:8300`] }) } },
  },
  { path: '/v1/discovery-chain/:name', methods: { GET: { handler: chain } } },
]

// An answer that its caller has no right to see anything of: nothing, with the index that no other answer has.
const nothingVisible = { body: [], index: 1 }

function health(call: Call, connect = flagOf(call.query, 'connect')): Promise<Reply> {
  requireDatacenter(call)
  const { name = '' } = call.params
  const topics = [connect ? topicOf.connect(name) : topicOf.service(name), nodeTopic]
  return blockByIndex(call, topics, rights => {
    if (!rights.reads(name) || !rights.readsNodes) return nothingVisible
    return {
      body: healthRows(
        call.world,
        { name, connect, passing: flagOf(call.query, 'passing') },
        { query: call.query, rights },
      ),
    }
  })
}

interface Wanted {
  readonly name: string
  readonly connect: boolean
  readonly passing: boolean
}

export function healthRows(
  world: World,
  { name, connect, passing }: Wanted,
  { query = {}, rights }: { readonly query?: Call['query']; readonly rights: Rights },
): readonly Json[] {
  const { catalog, node } = world
  const tags = [query.tag ?? []].flat() as readonly string[]
  const rows = connect ? catalog.connectInstancesOf(name) : catalog.instancesOf(name)
  const nodeChecks = catalog.nodeChecks()
  return (
    rows
      // A proxy is found by the name of its service, and has one of its own.
      .filter(row => rights.reads(row.Service) && tags.every(tag => row.Tags.includes(tag)))
      .map(row => ({ row, checks: [...nodeChecks, ...catalog.checksOf(row.ID)] }))
      .filter(({ checks }) => !passing || checks.every(({ Status }) => Status === 'passing'))
      .map(({ row, checks }) => healthBody(row, checks, node))
  )
}

function checks(call: Call): Promise<Reply> {
  requireDatacenter(call)
  const { name = '' } = call.params
  const { catalog, node } = call.world
  return blockByIndex(call, [topicOf.service(name)], rights => {
    if (!rights.reads(name) || !rights.readsNodes) return nothingVisible
    return {
      body: catalog
        .instancesOf(name)
        .flatMap(row => catalog.checksOf(row.ID).map(check => checkBody(check, node, row))),
    }
  })
}

function names(call: Call): Promise<Reply> {
  requireDatacenter(call)
  return blockByIndex(call, [topicOf.services], rights => {
    const seen = call.world.catalog.services().filter(row => rights.reads(row.Service))
    const tags = new Map<string, Set<string>>()
    for (const row of seen) {
      const known = tags.get(row.Service) ?? new Set()
      for (const tag of row.Tags) known.add(tag)
      tags.set(row.Service, known)
    }
    return { body: Object.fromEntries([...tags].map(([name, known]) => [name, [...known]])) }
  })
}

function nodes(call: Call): Promise<Reply> {
  return blockByIndex(call, [nodeTopic], rights => ({
    body: rights.readsNodes ? [nodeBody(call.world.node)] : [],
  }))
}

function datacenters({ world }: Call): Reply {
  return { body: [world.node.datacenter] }
}

function catalog(call: Call, connect = flagOf(call.query, 'connect')): Promise<Reply> {
  requireDatacenter(call)
  const { name = '' } = call.params
  const { catalog, node } = call.world
  return blockByIndex(call, [connect ? topicOf.connect(name) : topicOf.service(name)], rights => {
    if (!rights.reads(name) || !rights.readsNodes) return nothingVisible
    const rows = connect ? catalog.connectInstancesOf(name) : catalog.instancesOf(name)
    return { body: rows.filter(row => rights.reads(row.Service)).map(row => catalogBody(row, node)) }
  })
}

/** There are no config entries here, so every service's chain is its own instances. */
function chain({ world, params, rights }: Call): Reply {
  const { name = '' } = params
  if (!rights().reads(name)) throw denied()
  const { datacenter } = world.node
  const id = `${name}.default.${datacenter}`
  const resolver = { ConnectTimeout: '5s', Default: true, Target: id }
  return {
    headers: { ...serverHeaders(world), 'X-Consul-Index': String(world.node.index) },
    body: {
      Chain: {
        ...{ ServiceName: name, Namespace: 'default', Datacenter: datacenter, Protocol: 'tcp' },
        StartNode: `resolver:${id}`,
        Nodes: { [`resolver:${id}`]: { Type: 'resolver', Name: id, Resolver: resolver } },
        Targets: {
          [id]: {
            ...{
              ID: id,
              Service: name,
              Namespace: 'default',
              Datacenter: datacenter,
              MeshGateway: {},
              Subset: {},
            },
            SNI: `${name}.default.${datacenter}.internal.${world.authority.trustDomain}`,
            Name: `${name}.default.${datacenter}.internal.${world.authority.trustDomain}`,
          },
        },
      },
    },
  }
}
