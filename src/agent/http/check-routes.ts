// /v1/agent/check and /v1/agent/checks.
import { checkBody } from '../bodies.ts'
import { isStatus, readCheck } from '../check-definition.ts'
import { Refusal } from '../refusal.ts'
import type { Row, Status } from '../rows.ts'
import { checkSchema, checkUpdateSchema } from '../schemas.ts'
import { type Call, denied, type Reply, textOf } from './call.ts'
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
  if (service === undefined ? !may.management : !may.writes(service.Service)) throw denied()
  const check = readCheck(body, { service, origin: 'api', ofDefinition: false, id: name })
  const before = world.state.get('check', check.CheckID)
  if (before !== undefined) requireWrite({ world, rights }, before)
  world.catalog.putCheck(check)
  return {}
}

function deregister(call: Call): Reply {
  const { id = '' } = call.params
  const check = call.world.state.get('check', id)
  if (check === undefined) return {}
  requireWrite(call, check)
  call.world.catalog.deregisterCheck(id)
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
  const check = call.world.state.get('check', id)
  if (check?.probe.by !== 'ttl') throw new Refusal(500, `CheckID "${id}" does not have associated TTL`)
  requireWrite(call, check)
  call.world.checks.heard(id)
  call.world.catalog.setStatus(id, status, output.slice(0, mostOutput))
}

function requireWrite({ world, rights }: Pick<Call, 'world' | 'rights'>, check: Row<'check'>): void {
  const service = world.state.get('service', check.ServiceID)
  const may = rights()
  if (service === undefined ? !may.management : !may.writes(service.Service)) throw denied()
}
