// What a registration may ask for and this version does not do: named, so that nobody waits for it.
import { isFileMode, isLoopback, isSocketPath } from '../address.ts'
import { show } from '../config/problem.ts'
import type { RegistrationReader } from '../config/registration.ts'
import type { ProxyService, ProxyUpstream } from '../consul/wire.ts'

const aPath = 'an absolute path of at most 107 bytes'

/** Keys that have no effect here (Consul: proxy registration, `mode`, `expose`), each as a line. */
export function withoutEffect({
  mode,
  expose,
  envoyOnly,
  meshGatewayMode,
  upstreams,
}: ProxyService): readonly string[] {
  const paths = Array.isArray(expose.Paths) ? expose.Paths.length : 0
  const lines = [
    mode !== '' && mode !== 'direct' && `Proxy.Mode ${mode}: only upstreams with a port are reached`,
    expose.Checks === true && 'Proxy.Expose.Checks: no listener is opened for checks',
    paths > 0 && `Proxy.Expose.Paths: none of the ${paths} is opened`,
    usesGateway(meshGatewayMode) &&
      upstreams.length > 0 &&
      `Proxy.MeshGateway.Mode ${meshGatewayMode}: upstreams of other datacenters are not started`,
    ...envoyOnly.map(name => `Proxy.${name}: only Envoy does it`),
  ]
  return lines.filter(line => line !== false)
}

/** Why there is no public listener where the registration asks for one. */
export function inboundRefusal(
  { localAddress, localPort, localSocket, socketPath }: ProxyService,
  { unsafe }: Pick<RegistrationReader, 'unsafe'>,
): string | undefined {
  if (localSocket === '' && localPort < 1) return undefined
  if (socketPath !== '') return 'SocketPath is not supported'
  if (localSocket !== '')
    return isSocketPath(localSocket)
      ? undefined
      : `Proxy.LocalServiceSocketPath ${show(localSocket)} is not ${aPath}`
  if (unsafe.localService || isLoopback(localAddress || '127.0.0.1')) return undefined
  return `Proxy.LocalServiceAddress ${localAddress} is beyond loopback, where plaintext can be read; --unsafe-local-service allows it`
}

export interface UpstreamContext {
  readonly proxy: Pick<ProxyService, 'meshGatewayMode' | 'localSocket'>
  readonly reader: Pick<RegistrationReader, 'unsafe'>
  /** Our own; undefined until our certificate tells it. */
  readonly datacenter: string | undefined
}

/** Why an upstream is not started. */
export function upstreamRefusal(upstream: ProxyUpstream, context: UpstreamContext): string | undefined {
  const { type, peer, partition } = upstream
  if (peer !== '') return 'DestinationPeer is not supported'
  if (type !== 'service' && type !== 'prepared_query') return `DestinationType ${type} is not known`
  if (partition !== 'default') return 'DestinationPartition is not supported'
  const bind = bindRefusal(upstream, context)
  if (bind !== undefined) return bind
  const mode = upstream.meshGatewayMode || context.proxy.meshGatewayMode
  // Within a datacenter no gateway is on the way, whatever the mode (Consul: mesh gateways, modes of operation).
  const elsewhere = upstream.datacenter !== '' && upstream.datacenter !== context.datacenter
  return elsewhere && usesGateway(mode) ? `MeshGateway.Mode ${mode} is not supported` : undefined
}

function bindRefusal(
  { socketPath, socketMode, bindAddress, bindPort }: ProxyUpstream,
  { proxy, reader }: UpstreamContext,
): string | undefined {
  if (socketPath !== '') {
    if (!isSocketPath(socketPath)) return `LocalBindSocketPath ${show(socketPath)} is not ${aPath}`
    if (socketPath === proxy.localSocket)
      return `LocalBindSocketPath ${socketPath} is the local application's own`
    if (socketMode !== '' && !isFileMode(socketMode))
      return `LocalBindSocketMode ${show(socketMode)} is not a mode in octal digits`
    return undefined
  }
  if (bindPort < 1 || bindPort > 65_535) return 'it has no LocalBindPort'
  if (reader.unsafe.upstreamBind || isLoopback(bindAddress)) return undefined
  return `LocalBindAddress ${bindAddress} is beyond loopback, and whoever reaches it acts as this service; --unsafe-upstream-bind allows it`
}

function usesGateway(mode: string): boolean {
  return mode === 'local' || mode === 'remote'
}
