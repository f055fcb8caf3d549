// From a check's definition to its row: what is probed how, and what of Consul's checks is not done here.
import type { Json } from '../consul/shape.ts'
import { parseDuration } from './duration.ts'
import { Refusal } from './refusal.ts'
import { type CheckRow, type Origin, type Probe, type Status, statuses } from './rows.ts'

export interface CheckContext {
  /** Undefined for a check of the node. */
  readonly service: { readonly ID: string; readonly Service: string } | undefined
  readonly origin: Origin
  readonly ofDefinition: boolean
  /** Where the definition names no ID. */
  readonly id: string
}

// Consul's own default, and its least.
const defaultTimeoutMs = 10_000
const leastIntervalMs = 1_000

/** @throws Refusal */
export function readCheck(definition: Json, context: CheckContext): CheckRow {
  const given = (key: string) => String(definition[key] ?? '')
  const status = given('Status') || 'critical'
  if (!isStatus(status))
    throw invalidCheck(`Status ${JSON.stringify(status)} is not one of ${statuses.join(', ')}`)
  const probe = readProbe(definition)
  const id = given('CheckID') || given('ID') || context.id
  const { service } = context
  return {
    CheckID: id,
    Name: given('Name') || (service === undefined ? id : `Service '${service.Service}' check`),
    Status: status,
    Notes: given('Notes'),
    Output: '',
    ServiceID: service?.ID ?? '',
    Type: probe.by === 'nothing' ? '' : probe.by,
    probe,
    deregisterAfterMs: duration(definition, 'DeregisterCriticalServiceAfter', 0),
    ofDefinition: context.ofDefinition,
    origin: context.origin,
  }
}

function readProbe(definition: Json): Probe {
  for (const key of ['Args', 'ScriptArgs', 'Script', 'DockerContainerID', 'GRPC']) {
    if (definition[key] === undefined || definition[key] === '') continue
    throw invalidCheck(`${key} is not supported by this agent, which checks by TCP, HTTP, TTL and alias`)
  }
  const ways = ['TTL', 'TCP', 'HTTP', 'AliasService'].filter(
    key => definition[key] !== undefined && definition[key] !== '' && definition[key] !== 0,
  )
  if (ways.length > 1) throw invalidCheck(`${ways.join(' and ')} exclude each other`)
  const [way] = ways
  if (way === 'AliasService') return { by: 'alias', service: String(definition.AliasService) }
  if (way === 'TTL') {
    const ttlMs = duration(definition, 'TTL', 0)
    if (ttlMs <= 0) throw invalidCheck('TTL must be > 0 for TTL checks')
    return { by: 'ttl', ttlMs }
  }
  if (way === undefined) throw invalidCheck('TTL must be > 0 for TTL checks')
  const intervalMs = duration(definition, 'Interval', 0)
  if (intervalMs <= 0) throw invalidCheck(`Interval must be > 0 for Script, HTTP, or TCP checks`)
  const times = {
    intervalMs: Math.max(intervalMs, leastIntervalMs),
    timeoutMs: duration(definition, 'Timeout', 0) || defaultTimeoutMs,
  }
  if (way === 'TCP') return { by: 'tcp', target: String(definition.TCP), ...times }
  return {
    by: 'http',
    url: String(definition.HTTP),
    method: String(definition.Method ?? '') || 'GET',
    headers: (definition.Header ?? {}) as Readonly<Record<string, readonly string[]>>,
    body: String(definition.Body ?? ''),
    skipVerify: definition.TLSSkipVerify === true,
    ...times,
  }
}

function duration(definition: Json, key: string, otherwise: number): number {
  const value = definition[key]
  if (value === undefined || value === '') return otherwise
  const ms = parseDuration(value)
  if (ms === undefined || ms < 0)
    throw invalidCheck(`${key}: got ${JSON.stringify(value)}, expected a duration as 10s or 1m30s`)
  return ms
}

export function isStatus(text: string): text is Status {
  return (statuses as readonly string[]).includes(text)
}

function invalidCheck(problem: string): Refusal {
  return new Refusal(400, `Invalid check: ${problem}`)
}
