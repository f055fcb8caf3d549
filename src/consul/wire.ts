// The shapes of the agent's answers, known nowhere else: JSON in, typed values out. Unknown fields are ignored.
import { isHost } from '../address.ts'
import type { AgentVerdict } from '../authorization/authorization.ts'
import type { Intention } from '../authorization/intentions.ts'
import { show } from '../config/problem.ts'
import type { Answer } from './client.ts'
import type { Namespaced } from './namespace.ts'
import {
  type Json,
  list,
  object,
  optionalInteger,
  optionalObject,
  optionalText,
  shapeError,
  text,
} from './shape.ts'

/** GET /v1/agent/connect/ca/roots */
export interface Roots {
  readonly trustDomain: string
  /** Every root that is listed, active or not, and none of them pinned. */
  readonly pem: string
}

export function parseRoots({ body }: Answer): Roots {
  const answer = object(body, 'roots')
  const roots = list(answer.Roots, 'Roots').map((root, at) =>
    text(object(root, `Roots[${at}]`).RootCert, `Roots[${at}].RootCert`),
  )
  if (roots.length === 0) throw shapeError('Roots', 'at least one')
  return {
    trustDomain: text(answer.TrustDomain, 'TrustDomain').toLowerCase(),
    pem: roots.map(pem => (pem.endsWith('\n') ? pem : `${pem}\n`)).join(''),
  }
}

/** GET /v1/agent/connect/ca/leaf/:service */
export interface Leaf {
  readonly certPem: string
  readonly keyPem: Buffer
}

export function parseLeafAnswer({ body }: Answer): Leaf {
  const answer = object(body, 'leaf')
  return {
    certPem: text(answer.CertPEM, 'CertPEM'),
    keyPem: Buffer.from(text(answer.PrivateKeyPEM, 'PrivateKeyPEM')),
  }
}

/** GET /v1/agent/service/:id of a proxy. */
export interface ProxyService {
  readonly id: string
  readonly address: string
  readonly port: number
  readonly destinationName: string
  readonly destinationId: string
  readonly namespace: string
  readonly localAddress: string
  readonly localPort: number
  readonly localSocket: string
  /** Where peers are to connect instead of a port (1.10+). */
  readonly socketPath: string
  readonly mode: string
  readonly config: Json
  readonly expose: Json
  readonly envoyOnly: readonly string[]
  readonly meshGatewayMode: string
  readonly upstreams: readonly ProxyUpstream[]
}

export interface ProxyUpstream extends Required<Namespaced> {
  readonly type: string
  readonly name: string
  readonly partition: string
  readonly peer: string
  readonly datacenter: string
  readonly bindAddress: string
  readonly bindPort: number
  readonly socketPath: string
  readonly socketMode: string
  readonly config: Json
  readonly meshGatewayMode: string
}

/** @throws SidespliceError `agent_answer`, `not_a_proxy` */
export function parseProxyService({ body }: Pick<Answer, 'body'>): ProxyService {
  const service = object(body, 'service')
  const id = text(service.ID, 'ID')
  if (service.Kind !== 'connect-proxy')
    throw shapeError(`service ${id}: Kind ${show(service.Kind ?? '')}`, '"connect-proxy"')
  const proxy = object(service.Proxy, 'Proxy')
  const namespace = optionalText(service.Namespace, 'Namespace')
  return {
    id,
    address: optionalText(service.Address, 'Address'),
    port: optionalInteger(service.Port, 'Port'),
    namespace: namespace || 'default',
    socketPath: optionalText(service.SocketPath, 'SocketPath'),
    destinationName: text(proxy.DestinationServiceName, 'Proxy.DestinationServiceName'),
    destinationId: optionalText(proxy.DestinationServiceID, 'Proxy.DestinationServiceID'),
    localAddress: optionalText(proxy.LocalServiceAddress, 'Proxy.LocalServiceAddress'),
    localPort: optionalInteger(proxy.LocalServicePort, 'Proxy.LocalServicePort'),
    localSocket: optionalText(proxy.LocalServiceSocketPath, 'Proxy.LocalServiceSocketPath'),
    mode: optionalText(proxy.Mode, 'Proxy.Mode'),
    config: optionalObject(proxy.Config, 'Proxy.Config'),
    expose: optionalObject(proxy.Expose, 'Proxy.Expose'),
    envoyOnly: [
      ...(list(proxy.EnvoyExtensions, 'Proxy.EnvoyExtensions').length > 0 ? ['EnvoyExtensions'] : []),
      ...(optionalObject(proxy.AccessLogs, 'Proxy.AccessLogs').Enabled === true ? ['AccessLogs'] : []),
    ],
    meshGatewayMode: modeOf(proxy),
    upstreams: list(proxy.Upstreams, 'Proxy.Upstreams').map((entry, at) =>
      parseUpstream(object(entry, `Upstreams[${at}]`), at, namespace),
    ),
  }
}

/** One that names no namespace means that of its proxy, which only Enterprise tells. */
function parseUpstream(entry: Json, at: number, proxyNamespace: string): ProxyUpstream {
  const of = (name: string) => `Upstreams[${at}].${name}`
  const named = optionalText(entry.DestinationNamespace, of('DestinationNamespace')) || proxyNamespace
  return {
    type: optionalText(entry.DestinationType, of('DestinationType')) || 'service',
    name: text(entry.DestinationName, of('DestinationName')),
    namespace: named || 'default',
    namespaceNamed: named !== '',
    namespacesKnown: proxyNamespace !== '',
    partition: optionalText(entry.DestinationPartition, of('DestinationPartition')) || 'default',
    peer: optionalText(entry.DestinationPeer, of('DestinationPeer')),
    datacenter: optionalText(entry.Datacenter, of('Datacenter')),
    bindAddress: optionalText(entry.LocalBindAddress, of('LocalBindAddress')) || '127.0.0.1',
    bindPort: optionalInteger(entry.LocalBindPort, of('LocalBindPort')),
    socketPath: optionalText(entry.LocalBindSocketPath, of('LocalBindSocketPath')),
    socketMode: optionalText(entry.LocalBindSocketMode, of('LocalBindSocketMode')),
    config: optionalObject(entry.Config, of('Config')),
    meshGatewayMode: modeOf(entry),
  }
}

function modeOf(holder: Json): string {
  return optionalText(optionalObject(holder.MeshGateway, 'MeshGateway').Mode, 'MeshGateway.Mode')
}

/** A row of GET /v1/health/connect/:service or of a prepared query. */
export interface Instance {
  readonly host: string
  readonly port: number
  readonly service: string
  readonly namespace: string
  readonly partition: string
  readonly datacenter: string
  readonly weight: number
}

export function parseInstances({ body }: Answer): readonly Instance[] {
  return instancesOf(list(body, 'instances'))
}

/** POST-less GET /v1/query/:name/execute; rows may come from another datacenter. */
export function parseQueryResult({ body }: Answer): {
  readonly service: string
  readonly instances: readonly Instance[]
} {
  const answer = object(body, 'query')
  const service = text(answer.Service, 'Service')
  // Found without regard to case, while ACLs and identities tell `db` from `DB`.
  const instances = instancesOf(list(answer.Nodes, 'Nodes')).filter(instance => instance.service === service)
  return { service, instances }
}

/** A row that can't be read is left out; where none can be, the answer is no list of instances. */
function instancesOf(rows: readonly unknown[]): readonly Instance[] {
  const read: Instance[] = []
  let refusal: unknown
  for (const [at, row] of rows.entries()) {
    try {
      const instance = instanceOf(row, `[${at}]`)
      if (instance !== undefined) read.push(instance)
    } catch (error) {
      refusal = error
    }
  }
  if (read.length === 0 && refusal !== undefined) throw refusal
  return read
}

function instanceOf(row: unknown, what: string): Instance | undefined {
  const node = object(object(row, what).Node, `${what}.Node`)
  const service = object(object(row, what).Service, `${what}.Service`)
  const proxy = optionalObject(service.Proxy, `${what}.Service.Proxy`)
  const native = optionalObject(service.Connect, `${what}.Service.Connect`).Native === true
  // A service that is no proxy speaks for itself; a proxy for its destination.
  const name = native ? service.Service : proxy.DestinationServiceName
  const port = optionalInteger(service.Port, `${what}.Service.Port`)
  if (typeof name !== 'string' || name === '' || port < 1 || port > 65_535) return undefined
  const host =
    optionalText(service.Address, `${what}.Service.Address`) || text(node.Address, `${what}.Node.Address`)
  if (!isHost(host)) return undefined
  const weights = optionalObject(service.Weights, `${what}.Service.Weights`)
  return {
    host,
    port,
    service: name,
    namespace: optionalText(service.Namespace, `${what}.Service.Namespace`) || 'default',
    partition: optionalText(service.Partition, `${what}.Service.Partition`) || 'default',
    datacenter: text(node.Datacenter, `${what}.Node.Datacenter`),
    // What can't be weighed has the weight that Consul gives by default.
    weight: Math.max(1, optionalInteger(weights.Passing, `${what}.Service.Weights.Passing`)),
  }
}

/** GET /v1/connect/intentions/match?by=destination&name=… */
export function parseIntentions({ body }: Answer, service: string): readonly Intention[] {
  const answer = object(body, 'intentions')
  // Where there is none the service is named all the same.
  if (!Object.hasOwn(answer, service)) throw shapeError(service, 'its intentions, or null')
  return list(answer[service], service).flatMap((row, at) => {
    const rule = object(row, `${service}[${at}]`)
    // Of another mesh, or of an identity that is no service of this one: never a peer of ours.
    if (optionalText(rule.SourcePeer, 'SourcePeer') !== '' || (rule.SourceType ?? 'consul') !== 'consul')
      return []
    const permissions = list(rule.Permissions, 'Permissions')
    return [
      {
        sourceNamespace: optionalText(rule.SourceNS, 'SourceNS') || 'default',
        sourceName: text(rule.SourceName, 'SourceName'),
        sourcePartition: optionalText(rule.SourcePartition, 'SourcePartition') || 'default',
        destinationNamespace: optionalText(rule.DestinationNS, 'DestinationNS') || 'default',
        destinationName: text(rule.DestinationName, 'DestinationName'),
        // Permissions of layer 7 are not looked at here (as in Consul, for L4), a sameness group is not looked up: both deny.
        action:
          permissions.length === 0 &&
          rule.Action === 'allow' &&
          optionalText(rule.SourceSamenessGroup, 'SourceSamenessGroup') === ''
            ? 'allow'
            : 'deny',
        ...(permissions.length > 0 && { layer7: true }),
      } as const,
    ]
  })
}

/** POST /v1/agent/connect/authorize */
export function parseAuthorization({ body }: Answer): AgentVerdict {
  const { Authorized: authorized, Reason } = object(body, 'authorize')
  // An answer that says neither is no denial: it must not end what lives.
  if (typeof authorized !== 'boolean') throw shapeError('Authorized', 'true or false')
  return { authorized, reason: optionalText(Reason, 'Reason') }
}
