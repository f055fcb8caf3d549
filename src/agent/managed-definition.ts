// `connect { proxy {} }`: a proxy that the agent starts itself. What its definition means, as Consul 1.2 to 1.5 documented it.
import type { Json } from '../consul/shape.ts'
import { readCheck } from './check-definition.ts'
import { type Expanded, object, readUpstreams, requireProxy, targetOf, textOf } from './proxy-block.ts'
import { invalid } from './refusal.ts'
import type { ServiceRow } from './rows.ts'

export function isManaged(connect: Json): boolean {
  return connect.Proxy !== undefined
}

/** Keys of `config` that say where things are, and become fields of the registration. */
const placeKeys = [
  'bind_address',
  'bind_port',
  'local_service_address',
  'upstreams',
  'tcp_check_address',
  'disable_tcp_check',
]

/** @throws Refusal naming the setting */
export function managedProxy(block: Json, parent: ServiceRow): Expanded {
  const mode = textOf(block.ExecMode)
  if (mode !== '' && mode !== 'daemon')
    throw invalid(`connect.proxy.exec_mode: got ${JSON.stringify(mode)}, expected "daemon"`)
  if (parent.Kind !== '' || parent.Native)
    throw invalid('connect.proxy: got it on a proxy or a native service, expected a typical one')
  const config = object(block.Config)
  const [host, port] = localService(config.local_service_address, parent)
  const bindPort = integerOf(config.bind_port)
  const upstreams = [
    ...readUpstreams((block.Upstreams ?? []) as readonly Json[]),
    // 1.2 had them there, with other names.
    ...readUpstreams(((config.upstreams ?? []) as readonly Json[]).map(lifted)),
  ]
  const rest = Object.fromEntries(Object.entries(config).filter(([key]) => !placeKeys.includes(key)))
  const service: ServiceRow = {
    ID: `${parent.ID}-proxy`,
    Service: `${parent.Service}-proxy`,
    Kind: 'connect-proxy',
    Tags: parent.Tags,
    Meta: parent.Meta,
    Port: bindPort,
    Address: textOf(config.bind_address) || parent.Address,
    Weights: { Passing: 1, Warning: 1 },
    EnableTagOverride: false,
    Proxy: {
      DestinationServiceName: parent.Service,
      DestinationServiceID: parent.ID,
      LocalServiceAddress: host,
      LocalServicePort: port,
      ...(Object.keys(rest).length > 0 && { Config: rest }),
      ...(upstreams.length > 0 && { Upstreams: upstreams }),
      MeshGateway: {},
      Expose: {},
    },
    Native: false,
    parent: parent.ID,
    managed: { command: (block.Command ?? []) as readonly string[] },
    origin: parent.origin,
  }
  // Its port may still have to be chosen.
  requireProxy({ ...service, Port: bindPort || 1 })
  return {
    service,
    checks: config.disable_tcp_check === true ? [] : [listening(service, textOf(config.tcp_check_address))],
    ...(bindPort === 0 && { portFrom: 'managed' as const }),
  }
}

function listening(service: ServiceRow, address: string) {
  const bound = ['', '0.0.0.0', '[::]', '::'].includes(service.Address) ? '127.0.0.1' : service.Address
  return readCheck(
    { Name: 'Connect Proxy Listening', TCP: targetOf(address || bound, service.Port), Interval: '10s' },
    { service, origin: service.origin, ofDefinition: true, id: `service:${service.ID}` },
  )
}

function localService(value: unknown, parent: ServiceRow): readonly [string, number] {
  if (value === undefined) return ['127.0.0.1', parent.Port]
  const [, host = '', port = ''] = /^(.*):([0-9]{1,5})$/.exec(String(value)) ?? []
  if (host === '')
    throw invalid(
      `connect.proxy.config.local_service_address: got ${JSON.stringify(value)}, expected host:port`,
    )
  return [host.replace(/^\[(.*)\]$/, '$1'), Number(port)]
}

/** A number, or a string that holds one. */
function integerOf(value: unknown): number {
  if (value === undefined) return 0
  const number = typeof value === 'string' ? Number(value) : value
  if (typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= 65_535) return number
  throw invalid(`connect.proxy.config.bind_port: got ${JSON.stringify(value)}, expected a port`)
}

function lifted(entry: Json): Json {
  const names = {
    destination_type: 'DestinationType',
    destination_name: 'DestinationName',
    destination_datacenter: 'Datacenter',
    datacenter: 'Datacenter',
    local_bind_address: 'LocalBindAddress',
    local_bind_port: 'LocalBindPort',
    config: 'Config',
  } as const
  return Object.fromEntries(
    Object.entries(entry).map(([key, value]) => [names[key as keyof typeof names] ?? key, value]),
  )
}
