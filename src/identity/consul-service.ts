// Consul's form of a SPIFFE ID: which service of which namespace, partition and datacenter an ID names.
import { parseSpiffeId, type SpiffeId } from './spiffe-id.ts'

/** A service as Consul names it; names are unescaped. */
export interface ConsulService {
  readonly partition: string
  readonly namespace: string
  readonly datacenter: string
  readonly service: string
}

/** `/ns/<ns>/dc/<dc>/svc/<name>`, with `/ap/<partition>` before it where that is not the default; undefined for any other form. */
export function consulServiceOf(id: SpiffeId): ConsulService | undefined {
  const segments = id.segments[0] === 'ap' ? id.segments.slice(2) : id.segments
  const partition = id.segments[0] === 'ap' ? id.segments[1] : 'default'
  const [ns, namespace, dc, datacenter, svc, service] = segments
  if (segments.length !== 6 || ns !== 'ns' || dc !== 'dc' || svc !== 'svc') return undefined
  if (partition === undefined || namespace === undefined || datacenter === undefined || service === undefined)
    return undefined
  try {
    return {
      partition: decodeURIComponent(partition),
      namespace: decodeURIComponent(namespace),
      datacenter: decodeURIComponent(datacenter),
      service: decodeURIComponent(service),
    }
  } catch {
    // Percent-encoded bytes that are no UTF-8: no name that a catalog holds.
    return undefined
  }
}

/** @throws SidespliceError `bad_spiffe_id` where a name can't be part of one */
export function spiffeIdOf(
  trustDomain: string,
  { partition, namespace, datacenter, service }: ConsulService,
): SpiffeId {
  const path = [
    ...(partition === 'default' ? [] : ['ap', partition]),
    ...['ns', namespace, 'dc', datacenter, 'svc', service],
  ]
  return parseSpiffeId(`spiffe://${trustDomain}/${path.map(encodeURIComponent).join('/')}`)
}
