// The sidecar that a supervisor registers for a service: the registration's body, and by what it is known again. Pure.
import { createHash } from 'node:crypto'
import type { Expanded } from '../agent/proxy-block.ts'
import type { Json } from '../consul/shape.ts'

/** In a sidecar's metadata: whose it is, and by which definition it was registered. */
export const ownerKey = 'sidesplice-manager'
export const definitionKey = 'sidesplice-definition'
/** In a service's metadata: that it asks for a proxy. */
export const askingKey = 'sidesplice-managed'

/** As `sidecar_service` would name it. */
export function sidecarIdOf(serviceId: string): string {
  return `${serviceId}-sidecar-proxy`
}

/** The same for the same definition, whatever its port. */
export function definitionHash({ service }: Expanded): string {
  const { Proxy: proxy, Address, Tags, Port } = service
  return createHash('sha256')
    .update(JSON.stringify([proxy, Address, Tags, Port]))
    .digest('hex')
    .slice(0, 16)
}

export function registrationOf(
  expanded: Expanded,
  { port, owner }: { readonly port: number; readonly owner: string },
): Json {
  const { service } = expanded
  const { Proxy: proxy } = service
  const parent = proxy?.DestinationServiceID ?? ''
  const host = ['', '0.0.0.0', '::'].includes(service.Address) ? '127.0.0.1' : service.Address
  return {
    Kind: 'connect-proxy',
    ID: sidecarIdOf(parent),
    Name: `${proxy?.DestinationServiceName}-sidecar-proxy`,
    Tags: service.Tags,
    Address: service.Address,
    Port: port,
    Meta: { ...service.Meta, [ownerKey]: owner, [definitionKey]: definitionHash(expanded) },
    Proxy: proxy,
    Checks: [
      {
        Name: 'Connect Proxy Listening',
        TCP: `${host.includes(':') ? `[${host}]` : host}:${port}`,
        Interval: '10s',
      },
      { Name: `Connect Proxy Aliasing ${parent}`, AliasService: parent },
    ],
  }
}
