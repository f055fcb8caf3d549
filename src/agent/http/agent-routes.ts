// /v1/agent: what is registered here, and what proxies need of the agent beside them.
import type { Json } from '../../consul/shape.ts'
import { consulServiceOf } from '../../identity/consul-service.ts'
import { parseSpiffeId } from '../../identity/spiffe-id.ts'
import { agentServiceBody, agentServiceWithHash, describeIntention, leafBody, rootsBody } from '../bodies.ts'
import { Refusal } from '../refusal.ts'
import { nothing } from '../rights.ts'
import type { Row } from '../rows.ts'
import { authorizeSchema, serviceSchema } from '../schemas.ts'
import { readService } from '../service-definition.ts'
import { topicOf } from '../topics.ts'
import type { World } from '../world.ts'
import { blockByHash, blockByIndex, type Call, denied, flagOf, type Reply, require } from './call.ts'
import type { Route } from './route.ts'

export const agentRoutes: readonly Route[] = [
  { path: '/v1/agent/self', methods: { GET: { handler: self } } },
  { path: '/v1/agent/services', methods: { GET: { handler: services } } },
  { path: '/v1/agent/service/:id', methods: { GET: { handler: service } } },
  { path: '/v1/agent/service/register', methods: { PUT: { handler: register, schema: serviceSchema } } },
  { path: '/v1/agent/service/deregister/:id', methods: { PUT: { handler: deregister } } },
  { path: '/v1/agent/service/maintenance/:id', methods: { PUT: { handler: maintainService } } },
  { path: '/v1/agent/maintenance', methods: { PUT: { handler: maintainNode } } },
  { path: '/v1/agent/connect/proxy/:id', methods: { GET: { handler: managedProxy } } },
  { path: '/v1/agent/connect/ca/roots', methods: { GET: { handler: roots } } },
  { path: '/v1/agent/connect/ca/leaf/:name', methods: { GET: { handler: leaf } } },
  { path: '/v1/agent/connect/authorize', methods: { POST: { handler: authorize, schema: authorizeSchema } } },
]

function self({ world, rights }: Call): Reply {
  require(rights().readsAgent)
  const { node, version } = world
  return {
    body: {
      Config: {
        Datacenter: node.datacenter,
        NodeName: node.name,
        NodeID: node.id,
        Revision: 'sidesplice',
        Server: true,
        Version: version,
      },
      Coord: null,
      DebugConfig: {},
      Member: { Name: node.name, Addr: node.address, Port: 0, Status: 1, Tags: { dc: node.datacenter } },
      Meta: { 'consul-network-segment': '' },
      Stats: { agent: { services: String(world.catalog.services().length) } },
    },
  }
}

function services({ world, rights }: Call): Reply {
  const may = rights()
  const rows = world.catalog.services().filter(row => may.readsInstance(row))
  return { body: Object.fromEntries(rows.map(row => [row.ID, agentServiceBody(row)])) }
}

function service(call: Call): Promise<Reply> {
  const { id = '' } = call.params
  return blockByHash(call, topicOf.instance(id), rights => {
    const row = call.world.state.get('service', id)
    if (row === undefined) throw new Refusal(404, `unknown service ID: ${id}`)
    if (!rights.readsInstance(row)) throw denied()
    return agentServiceWithHash(row)
  })
}

async function register({ world, body, query, rights }: Call): Promise<Reply> {
  const connect = (body.Connect ?? {}) as Json
  if (connect.Proxy !== undefined && !world.managed.allowApiRegistration)
    throw new Refusal(
      400,
      'Managed proxy registration via the API is disallowed. Set connect.proxy.allow_managed_api_registration to allow it: whoever may register can start programs then',
    )
  const expanded = readService(body, 'api')
  const may = rights()
  for (const { service } of expanded) {
    const before = world.state.get('service', service.ID)
    const names = [service.Service, before?.Service, service.Proxy?.DestinationServiceName]
    const missing = names.find(name => name !== undefined && !may.writes(name))
    if (missing !== undefined)
      throw new Refusal(403, `Permission denied: Missing service:write on ${missing}`)
  }
  await world.catalog.register(expanded, { replaceChecks: flagOf(query, 'replace-existing-checks') })
  return {}
}

function deregister({ world, params, rights }: Call): Reply {
  const { id = '' } = params
  const row = world.state.get('service', id)
  const may = rights()
  if (row === undefined && world.tokens.enabled) throw unknownService(id)
  if (row !== undefined && !may.writes(row.Service)) throw denied()
  world.catalog.deregister(id)
  return {}
}

function maintainService({ world, params, query, rights }: Call): Reply {
  const { id = '' } = params
  const may = rights()
  const row = world.state.get('service', id)
  if (row === undefined) {
    if (world.tokens.enabled) throw unknownService(id)
    throw new Refusal(404, `No service registered with ID "${id}"`)
  }
  require(may.writes(row.Service))
  maintain(world, `_service_maintenance:${id}`, query, row)
  return {}
}

/** As Consul says it where a token would have to be looked at. */
function unknownService(id: string): Refusal {
  return new Refusal(500, `Unknown service {"${id}" {}}`)
}

function maintainNode({ world, query, rights }: Call): Reply {
  require(rights().writesNodes)
  maintain(world, '_node_maintenance', query, undefined)
  return {}
}

function maintain(world: World, id: string, query: Call['query'], service: Row<'service'> | undefined): void {
  if (query.enable === undefined) throw new Refusal(400, 'Missing value for enable')
  if (!flagOf(query, 'enable')) return world.catalog.deregisterCheck(id)
  const reason = String(query.reason ?? '')
  world.catalog.putCheck({
    CheckID: id,
    Name: service === undefined ? 'Node Maintenance Mode' : 'Service Maintenance Mode',
    Status: 'critical',
    Notes: reason || 'Maintenance mode is enabled, but no reason was provided.',
    Output: '',
    ServiceID: service?.ID ?? '',
    Type: 'maintenance',
    probe: { by: 'nothing' },
    deregisterAfterMs: 0,
    ofDefinition: false,
    origin: 'api',
  })
}

/** What a managed proxy of Consul 1.2 asks for. */
function managedProxy(call: Call): Promise<Reply> {
  const { id = '' } = call.params
  return blockByHash(call, topicOf.instance(id), rights => {
    const row = call.world.state.get('service', id)
    if (row?.managed === undefined) throw new Refusal(404, `unknown proxy service ID: ${id}`)
    require(rights.represents(row.Proxy?.DestinationServiceName ?? row.Service))
    const { ContentHash } = agentServiceWithHash(row)
    return {
      ProxyServiceID: row.ID,
      TargetServiceID: row.Proxy?.DestinationServiceID ?? '',
      TargetServiceName: row.Proxy?.DestinationServiceName ?? '',
      ContentHash,
      ExecMode: 'daemon',
      Command: row.managed.command,
      Config: {
        ...row.Proxy?.Config,
        bind_address: row.Address || call.world.node.address,
        bind_port: row.Port,
        local_service_address: `${row.Proxy?.LocalServiceAddress}:${row.Proxy?.LocalServicePort}`,
      },
      ...(row.Proxy?.Upstreams !== undefined && { Upstreams: row.Proxy.Upstreams }),
    }
  })
}

/** Whoever takes part in a mesh may know by what it is verified: no token is looked at. */
export function roots(call: Call): Promise<Reply> {
  const { authority } = call.world
  return blockByIndex({ ...call, rights: noRights }, [topicOf.authority], () => ({
    body: rootsBody(authority.roots(), authority.trustDomain),
    headers: { 'X-Cache': 'MISS' },
  }))
}

const noRights: Call['rights'] = () => ({ accessor: '', ...nothing })

function leaf(call: Call): Promise<Reply> {
  const { name = '' } = call.params
  const { leaves } = call.world
  return blockByIndex(call, [topicOf.leaf(name), topicOf.authority], async rights => {
    if (!rights.represents(name)) throw denied()
    const leaf = await leaves.get(name)
    return {
      body: leafBody(leaf),
      index: leaf.index,
      dueAt: leaves.dueAt(leaf),
      headers: { 'X-Cache': 'MISS' },
    }
  })
}

function authorize({ world, body, rights }: Call): Reply {
  const target = String(body.Target ?? '')
  if (target === '') throw new Refusal(400, 'Bad request: Target service must be specified')
  const source = sourceOf(String(body.ClientCertURI ?? ''))
  const may = rights()
  // Consul asks the intentions of the target with the caller's own token.
  require(may.represents(target) && may.readsIntentions(target))
  const { allowed, rule } = world.intentions.decide(source, target, world.tokens.defaultAction)
  if (rule !== undefined) return verdict(allowed, `Matched intention: ${describeIntention(rule)}`)
  return verdict(
    allowed,
    world.tokens.enabled
      ? 'Default behavior configured by ACLs'
      : 'ACLs disabled, access is allowed by default',
  )
}

function verdict(authorized: boolean, reason: string): Reply {
  return { headers: { 'X-Cache': 'MISS' }, body: { Authorized: authorized, Reason: reason } }
}

/**
 * Of the path alone, as Consul since 1.3: whether a certificate is of our trust domain is known from the chain that it came with, which the
 * proxy has verified; and proxies ask about names that no certificate has, to learn what holds by default.
 */
function sourceOf(uri: string): string {
  let id: ReturnType<typeof parseSpiffeId>
  try {
    id = parseSpiffeId(uri)
  } catch {
    throw new Refusal(400, 'Bad request: ClientCertURI not a valid Connect identifier')
  }
  const service = consulServiceOf(id)
  if (service === undefined || service.namespace !== 'default' || service.partition !== 'default')
    throw new Refusal(400, 'Bad request: ClientCertURI not a valid Service identifier')
  return service.service
}
