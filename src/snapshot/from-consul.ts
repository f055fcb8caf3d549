// From what a Consul agent says to the desired state. Pure: the same answers give the same state.
import { type Address, formatAddress, socketAddress } from '../address.ts'
import type { Intentions } from '../authorization/intentions.ts'
import { show } from '../config/problem.ts'
import { publicBind, type RegistrationReader } from '../config/registration.ts'
import type { Instance, ProxyService, ProxyUpstream } from '../consul/wire.ts'
import { consulServiceOf, spiffeIdOf } from '../identity/consul-service.ts'
import type { Identity } from '../identity/identity.ts'
import type { Endpoint } from '../upstream/endpoint.ts'
import { inboundRefusal, type UpstreamContext, upstreamRefusal, withoutEffect } from './not-done.ts'
import type { DesiredState, Inbound, Upstream } from './snapshot.ts'

export interface MeshFacts {
  readonly proxy: ProxyService
  readonly identity: Identity
  /** Absent until they are known: then nobody is admitted. */
  readonly intentions: Intentions | undefined
  readonly instances: (upstream: ProxyUpstream) => readonly Instance[]
}

const nobody: Intentions = { rules: [], defaultAction: 'deny' }

export function meshState(facts: MeshFacts, reader: RegistrationReader): DesiredState {
  const { proxy, identity } = facts
  for (const line of withoutEffect(proxy)) reader.notices.note(line)
  const inbound = inboundOf(facts, reader)
  return Object.freeze({
    service: proxy.destinationName,
    identity,
    ...(inbound !== undefined && { inbound }),
    upstreams: startable(proxy, { reader, datacenter: datacenterOf(identity) }).map(upstream =>
      upstreamOf(upstream, facts, reader),
    ),
  })
}

function inboundOf({ proxy, intentions }: MeshFacts, reader: RegistrationReader): Inbound | undefined {
  const settings = reader.read(['proxy.config', proxy.config])
  const refusal = inboundRefusal(proxy, reader)
  if (refusal !== undefined) {
    reader.notices.note(`the public listener is not started: ${refusal}`)
    return undefined
  }
  const bind = publicBind(settings, proxy)
  const localApp = localAppOf(proxy)
  if (bind === undefined || localApp === undefined) return undefined
  return {
    key: 'public',
    bind,
    localApp,
    authorization:
      settings.authorization === 'agent'
        ? { by: 'agent', intentions }
        : { by: 'intentions', intentions: intentions ?? nobody },
    endDeniedSessions: settings.endDeniedSessions,
    handshakeTimeoutMs: settings.handshakeTimeoutMs,
    localConnectTimeoutMs: settings.localConnectTimeoutMs,
    halfCloseTimeoutMs: settings.halfCloseTimeoutMs,
    idleTimeoutMs: settings.idleTimeoutMs,
  }
}

function localAppOf({ localSocket, localAddress, localPort }: ProxyService): Address | undefined {
  if (localSocket !== '') return socketAddress(localSocket)
  return localPort < 1 || localPort > 65_535
    ? undefined
    : { host: localAddress || '127.0.0.1', port: localPort }
}

/** What this version can't start is named, once, and left out; the rest goes on. */
export function startable(
  proxy: ProxyService,
  { reader, datacenter }: Pick<UpstreamContext, 'datacenter'> & { readonly reader: RegistrationReader },
): readonly ProxyUpstream[] {
  const taken = new Set<string>()
  return proxy.upstreams.filter(upstream => {
    // Defaults for all upstreams, from a config entry (1.10): merged into each by the agent, and none itself.
    if (upstream.name === '*' && upstream.bindPort === 0 && upstream.socketPath === '') return false
    const because = upstreamRefusal(upstream, { proxy, reader, datacenter })
    // Whether a gateway is on the way hangs on our own datacenter: nothing is said of it before our certificate tells that one.
    const here = { proxy, reader, datacenter: upstream.datacenter }
    if (because !== undefined && datacenter === undefined && upstreamRefusal(upstream, here) === undefined)
      return false
    const place = formatAddress(bindOf(upstream))
    if (because === undefined && !taken.has(place)) {
      taken.add(place)
      return true
    }
    reader.notices.note(`upstream ${upstream.name} is not started: ${because ?? `${place} is another's`}`)
    return false
  })
}

/** Our own datacenter, as our certificate has it. */
export function datacenterOf({ leaf }: Identity): string | undefined {
  return consulServiceOf(leaf.id)?.datacenter
}

/** What its endpoints are found by: the same for an upstream that moves to another port. */
export function discoveryKey({ type, name, namespace, partition, datacenter }: ProxyUpstream): string {
  return ['upstream', type, partition, namespace, name, datacenter].join(':')
}

/** Its listener's key. */
function upstreamKey(upstream: ProxyUpstream): string {
  // The last @ is the one in between: a path may hold more.
  return `${discoveryKey(upstream)}@${formatAddress(bindOf(upstream)).replaceAll('@', '%40')}`
}

/** The discovery key of a listener's key. */
export function discoveryKeyOf(listener: string): string {
  return listener.slice(0, listener.lastIndexOf('@'))
}

function upstreamOf(upstream: ProxyUpstream, facts: MeshFacts, reader: RegistrationReader): Upstream {
  const settings = reader.read(
    ['proxy.config', facts.proxy.config],
    [`upstream ${upstream.name}`, upstream.config],
  )
  return {
    key: upstreamKey(upstream),
    name: upstream.name,
    bind: bindOf(upstream),
    ...(upstream.socketMode !== '' && { socketMode: Number.parseInt(upstream.socketMode, 8) }),
    endpoints: facts
      .instances(upstream)
      .filter(instance => isAskedFor(instance, upstream, reader))
      .flatMap(instance => endpointOf(instance, facts.identity, reader)),
    connectTimeoutMs: settings.connectTimeoutMs,
    halfCloseTimeoutMs: settings.halfCloseTimeoutMs,
    idleTimeoutMs: settings.idleTimeoutMs,
  }
}

/**
 * The catalog finds instances of `DB` for `db`, ACLs tell the two apart: whoever may only register the one must not be taken for the
 * other. A prepared query names its service itself.
 */
function isAskedFor(
  { host, port, service }: Instance,
  { type, name }: ProxyUpstream,
  { notices }: RegistrationReader,
): boolean {
  if (type !== 'service' || service === name) return true
  notices.say(
    `upstream ${show(name)}: the instance at ${formatAddress({ host, port })} is left out: got one of ${show(service)}, expected the same letters in the same case`,
  )
  return false
}

/** Nothing for an instance whose name can't be part of an identity: the catalog takes any text, from whoever may register. */
function endpointOf(instance: Instance, { leaf }: Identity, reader: RegistrationReader): readonly Endpoint[] {
  const { host, port, weight, ...service } = instance
  try {
    return [{ address: { host, port }, expect: [spiffeIdOf(leaf.id.trustDomain, service)], weight }]
  } catch {
    reader.notices.say(
      `the instance at ${host}:${port} is left out: ${show(service.service)} can not be part of a SPIFFE ID`,
    )
    return []
  }
}

function bindOf({ socketPath, bindAddress, bindPort }: ProxyUpstream): Address {
  return socketPath !== '' ? socketAddress(socketPath) : { host: bindAddress, port: bindPort }
}
