// The `proxy` block of a registration, which sidecars, managed proxies and proxies of their own have in common.
import type { Json } from '../consul/shape.ts'
import { invalid } from './refusal.ts'
import type { CheckRow, ProxyBlock, ServiceRow, Upstream } from './rows.ts'

export interface Expanded {
  readonly service: ServiceRow
  readonly checks: readonly CheckRow[]
  /** Whether its port is still to be chosen, and from which range. */
  readonly portFrom?: 'sidecar' | 'managed'
}

export function readProxy(block: Json): ProxyBlock {
  const port = (block.LocalServicePort ?? 0) as number
  return {
    DestinationServiceName: textOf(block.DestinationServiceName),
    ...given('DestinationServiceID', textOf(block.DestinationServiceID)),
    ...given('LocalServiceAddress', textOf(block.LocalServiceAddress)),
    ...(port !== 0 && { LocalServicePort: port }),
    ...(block.Config !== undefined && { Config: object(block.Config) }),
    ...(block.Upstreams !== undefined && { Upstreams: readUpstreams(block.Upstreams as readonly Json[]) }),
    MeshGateway: object(block.MeshGateway),
    Expose: object(block.Expose),
  }
}

export function readUpstreams(entries: readonly Json[]): readonly Upstream[] {
  return entries.map(entry => ({
    DestinationType: textOf(entry.DestinationType) || 'service',
    DestinationName: textOf(entry.DestinationName),
    ...given('Datacenter', textOf(entry.Datacenter) || textOf(entry.DestinationDatacenter)),
    ...given('LocalBindAddress', textOf(entry.LocalBindAddress)),
    LocalBindPort: (entry.LocalBindPort ?? 0) as number,
    ...(entry.Config !== undefined && { Config: object(entry.Config) }),
    MeshGateway: object(entry.MeshGateway),
  }))
}

/** @throws Refusal */
export function requireProxy(row: ServiceRow): void {
  const { Proxy: proxy } = row
  const seen = new Set<string>()
  const problems = [
    ...(proxy === undefined || proxy.DestinationServiceName === ''
      ? ['Proxy.DestinationServiceName must be non-empty for Connect proxy services']
      : []),
    ...(row.Port === 0 ? ['Port must be set for a Connect proxy'] : []),
    ...(row.Native ? ['A Proxy cannot also be Connect Native, only typical services'] : []),
    ...(proxy?.Upstreams ?? []).flatMap(upstream => {
      const at = `${upstream.LocalBindAddress ?? '127.0.0.1'}:${upstream.LocalBindPort}`
      const twice = seen.has(at)
      seen.add(at)
      return [
        ...(upstream.DestinationName === '' ? ['upstream destination name cannot be empty'] : []),
        ...(upstream.LocalBindPort === 0 ? ['upstream local bind port cannot be zero'] : []),
        ...(['service', 'prepared_query'].includes(upstream.DestinationType)
          ? []
          : [`unknown upstream destination type: ${JSON.stringify(upstream.DestinationType)}`]),
        ...(twice
          ? [`upstreams cannot contain duplicates by local bind address and port; "${at}" is specified twice`]
          : []),
      ]
    }),
  ]
  if (problems.length > 0) throw invalid(...problems)
}

/** `host:port` of a check. A port that is not known yet is 0, and put in by `withPort`. */
export function targetOf(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The same with the port that was chosen. */
export function withPort({ service, checks }: Expanded, port: number): Expanded {
  return {
    service: { ...service, Port: port },
    checks: checks.map(check =>
      check.probe.by === 'tcp' && check.probe.target.endsWith(':0')
        ? { ...check, probe: { ...check.probe, target: check.probe.target.replace(/:0$/, `:${port}`) } }
        : check,
    ),
  }
}

function given<K extends string>(key: K, value: string): { readonly [P in K]?: string } {
  return value === '' ? {} : ({ [key]: value } as { [P in K]: string })
}

/** Absent and {} are the same. */
export function object(value: unknown): Json {
  return (value ?? {}) as Json
}

export function textOf(value: unknown): string {
  return (value ?? '') as string
}
