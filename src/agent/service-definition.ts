// From a service's definition to its rows: the service, the proxy that it asks for beside it, and their checks. Pure.
import type { Json } from '../consul/shape.ts'
import { readCheck } from './check-definition.ts'
import { isManaged, managedProxy } from './managed-definition.ts'
import { type Expanded, object, readProxy, requireProxy, targetOf, textOf } from './proxy-block.ts'
import { invalid } from './refusal.ts'
import type { CheckRow, Origin, ServiceRow } from './rows.ts'

/** The service, and after it the proxy that it asks for. Ports that are to be chosen are zero. */
export function readService(definition: Json, origin: Origin): readonly Expanded[] {
  const service = readRow(definition, origin)
  const connect = object(definition.Connect)
  const own = { service, checks: readChecks(definition, service) }
  const sidecar = connect.SidecarService
  if (sidecar !== undefined && isManaged(connect))
    throw invalid('connect.sidecar_service and connect.proxy exclude each other')
  if (sidecar !== undefined) return [own, readSidecar(object(sidecar), service)]
  if (isManaged(connect)) return [own, managedProxy(object(connect.Proxy), service)]
  return [own]
}

function readRow(definition: Json, origin: Origin): ServiceRow {
  const name = textOf(definition.Name)
  if (name === '') throw invalid('Missing service name')
  const kind = textOf(definition.Kind)
  if (kind !== '' && kind !== 'connect-proxy')
    throw invalid(`Kind: got ${JSON.stringify(kind)}, expected "" or "connect-proxy"`)
  const native = object(definition.Connect).Native === true
  const proxy = definition.Proxy === undefined ? undefined : readProxy(object(definition.Proxy))
  const row: ServiceRow = {
    ID: textOf(definition.ID) || name,
    Service: name,
    Kind: kind,
    Tags: (definition.Tags ?? []) as readonly string[],
    Meta: (definition.Meta ?? {}) as Readonly<Record<string, string>>,
    Port: (definition.Port ?? 0) as number,
    Address: textOf(definition.Address),
    ...(definition.TaggedAddresses !== undefined && { TaggedAddresses: object(definition.TaggedAddresses) }),
    Weights: { Passing: 1, Warning: 1, ...object(definition.Weights) },
    EnableTagOverride: definition.EnableTagOverride === true,
    ...(proxy !== undefined && kind === 'connect-proxy' && { Proxy: proxy }),
    Native: native,
    origin,
  }
  if (kind === 'connect-proxy') requireProxy(row)
  return row
}

function readSidecar(block: Json, parent: ServiceRow): Expanded {
  const inner = object(block.Connect)
  if (textOf(block.ID) !== '')
    throw invalid('sidecar_service: got an ID, expected none: it is made from that of its service')
  if (Object.keys(inner).length > 0)
    throw invalid(
      `sidecar_service.connect: got ${Object.keys(inner).join(', ')}, expected nothing within a sidecar`,
    )
  const proxy = object(block.Proxy)
  const definition = {
    ...block,
    ID: `${parent.ID}-sidecar-proxy`,
    Name: textOf(block.Name) || `${parent.Service}-sidecar-proxy`,
    Kind: 'connect-proxy',
    Tags: block.Tags ?? parent.Tags,
    Meta: block.Meta ?? parent.Meta,
    Address: textOf(block.Address) || parent.Address,
    Proxy: {
      ...proxy,
      DestinationServiceName: textOf(proxy.DestinationServiceName) || parent.Service,
      DestinationServiceID: textOf(proxy.DestinationServiceID) || parent.ID,
      LocalServiceAddress: textOf(proxy.LocalServiceAddress) || '127.0.0.1',
      LocalServicePort: proxy.LocalServicePort || parent.Port,
    },
  }
  const chosen = definition as Json & { Port?: number }
  const portGiven = (chosen.Port ?? 0) !== 0
  // A port that is not chosen yet must not be refused.
  const row = {
    ...readRow({ ...definition, Port: portGiven ? chosen.Port : 1 }, parent.origin),
    parent: parent.ID,
  }
  const service = portGiven ? row : { ...row, Port: 0 }
  const checks = readChecks(definition, service)
  return {
    service,
    checks: checks.length > 0 ? checks : defaultChecks(service, parent),
    ...(!portGiven && { portFrom: 'sidecar' as const }),
  }
}

/** Consul's two: that it listens, and that the service behind it is well. */
function defaultChecks(service: ServiceRow, parent: ServiceRow): readonly CheckRow[] {
  const host = service.Address || service.Proxy?.LocalServiceAddress || '127.0.0.1'
  return [
    { Name: 'Connect Sidecar Listening', TCP: targetOf(host, service.Port), Interval: '10s' },
    { Name: `Connect Sidecar Aliasing ${parent.ID}`, AliasService: parent.ID, Status: 'passing' },
  ].map((definition, at) =>
    readCheck(definition, {
      service,
      origin: parent.origin,
      ofDefinition: true,
      id: `service:${service.ID}:${at + 1}`,
    }),
  )
}

function readChecks(definition: Json, service: ServiceRow): readonly CheckRow[] {
  const list = [
    ...(isEmpty(definition.Check) ? [] : [object(definition.Check)]),
    ...((definition.Checks ?? []) as readonly Json[]),
  ]
  return list.map((check, at) =>
    readCheck(check, {
      service,
      origin: service.origin,
      ofDefinition: true,
      id: list.length === 1 ? `service:${service.ID}` : `service:${service.ID}:${at + 1}`,
    }),
  )
}

/** Consul's clients send every key of a check that is not there, each empty. */
function isEmpty(value: unknown): boolean {
  if (typeof value !== 'object' || value === null)
    return [undefined, null, '', 0, false].includes(value as null)
  return Object.values(value).every(isEmpty)
}
