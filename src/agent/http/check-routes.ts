// /v1/agent/check and /v1/agent/checks.
import { checkBody } from '../bodies.ts'
import { isStatus, readCheck } from '../check-definition.ts'
import { Refusal } from '../refusal.ts'
import type { Row, Status } from '../rows.ts'
import { checkSchema, checkUpdateSchema } from '../schemas.ts'
import { type Call, type Reply, require, textOf } from './call.ts'
import type { Route } from './route.ts'

export const checkRoutes: readonly Route[] = [
  { path: '/v1/agent/checks', methods: { GET: { handler: list } } },
  { path: '/v1/agent/check/register', methods: { PUT: { handler: register, schema: checkSchema } } },
  { path: '/v1/agent/check/deregister/:id', methods: { PUT: { handler: deregister } } },
  { path: '/v1/agent/check/pass/:id', methods: { PUT: { handler: says('passing') } } },
  { path: '/v1/agent/check/warn/:id', methods: { PUT: { handler: says('warning') } } },
  { path: '/v1/agent/check/fail/:id', methods: { PUT: { handler: says('critical') } } },
  { path: '/v1/agent/check/update/:id', methods: { PUT: { handler: update, schema: checkUpdateSchema } } },
]

function list({ world, rights }: Call): Reply {
  const may = rights()
  const bodies = world.state.all('check').flatMap(check => {
    const service = world.state.get('service', check.ServiceID)
    const seen = service === undefined ? may.readsNodes : may.readsInstance(service)
    const { CreateIndex, ModifyIndex, ...row } = check
    return seen ? [[check.CheckID, checkBody(row, world.node, service)] as const] : []
  })
  return { body: Object.fromEntries(bodies) }
}

function register({ world, body, rights }: Call): Reply {
  const id = String(body.ServiceID ?? '')
  const service = id === '' ? undefined : world.state.get('service', id)
  if (id !== '' && service === undefined) throw new Refusal(500, `ServiceID "${id}" does not exist`)
  const name = String(body.Name ?? '')
  if (name === '') throw new Refusal(400, 'Missing check name')
  const may = rights()
  require(service === undefined ? may.writesNodes : may.writes(service.Service))
  const check = readCheck(body, { service, origin: 'api', ofDefinition: false, id: name })
  if (world.state.get('check', check.CheckID) !== undefined) writable({ world, rights }, check.CheckID)
  world.catalog.putCheck(check)
  return {}
}

function deregister(call: Call): Reply {
  const { id = '' } = call.params
  if (writable(call, id) !== undefined) call.world.catalog.deregisterCheck(id)
  return {}
}

function says(status: Status) {
  return (call: Call): Reply => {
    heartbeat(call, status, textOf(call.query, 'note'))
    return {}
  }
}

function update(call: Call): Reply {
  const status = String(call.body.Status ?? '')
  if (!isStatus(status)) throw new Refusal(400, `Invalid check status: '${status}'`)
  heartbeat(call, status, String(call.body.Output ?? ''))
  return {}
}

// Consul's own bound for what a check says.
const mostOutput = 4_096

function heartbeat(call: Call, status: Status, output: string): void {
  const { id = '' } = call.params
  const check = writable(call, id)
  if (check?.probe.by !== 'ttl') throw new Refusal(500, `CheckID "${id}" does not have associated TTL`)
  call.world.checks.heard(id)
  call.world.catalog.setStatus(id, status, output.slice(0, mostOutput))
}

/**
 * The check of this ID, where the caller may write it; without tokens none may be there.
 * @throws Refusal
 */
function writable({ world, rights }: Pick<Call, 'world' | 'rights'>, id: string): Row<'check'> | undefined {
  const may = rights()
  const check = world.state.get('check', id)
  if (check === undefined && world.tokens.enabled)
    throw new Refusal(500, `Unknown check ${JSON.stringify(id)}`)
  const service = check === undefined ? undefined : world.state.get('service', check.ServiceID)
  if (check !== undefined) require(service === undefined ? may.writesNodes : may.writes(service.Service))
  return check
}
