// Which blocked questions a change concerns. A topic is what one question is about; its index is that of the last change to it.
import type { CheckRow, Kind, Row, ServiceRow } from './rows.ts'

/** Health of every instance: a check of the node itself changed. */
export const nodeTopic = 'node'

export const topicOf = {
  services: 'services',
  checks: 'checks',
  intentions: 'intentions',
  authority: 'authority',
  queries: 'queries',
  tokens: 'tokens',
  service: (name: string) => `service ${name}`,
  /** Instances through which a service is reached by Connect. */
  connect: (name: string) => `connect ${name}`,
  instance: (id: string) => `instance ${id}`,
  leaf: (service: string) => `leaf ${service}`,
} as const

export interface RowChange {
  readonly kind: Kind
  readonly before: Row<Kind> | undefined
  readonly after: Row<Kind> | undefined
}

export function topicsOf(
  { kind, before, after }: RowChange,
  instance: (id: string) => ServiceRow | undefined,
): readonly string[] {
  const both = [before, after].filter(row => row !== undefined)
  switch (kind) {
    case 'service':
      return [topicOf.services, ...both.flatMap(row => ofService(row as Row<'service'>))]
    case 'check':
      return [topicOf.checks, ...both.flatMap(row => ofCheck(row as CheckRow, instance))]
    case 'intention':
      return [topicOf.intentions]
    case 'query':
      return [topicOf.queries]
    case 'token':
    case 'policy':
      return [topicOf.tokens]
    case 'root':
      return [topicOf.authority]
    case 'setting':
      return [topicOf.authority]
    default:
      return kind satisfies never
  }
}

function ofService(row: ServiceRow): readonly string[] {
  return [topicOf.instance(row.ID), ...ofHealth(row)]
}

function ofHealth(row: ServiceRow): readonly string[] {
  const target = row.Native ? row.Service : row.Proxy?.DestinationServiceName
  return [topicOf.service(row.Service), ...(target === undefined ? [] : [topicOf.connect(target)])]
}

function ofCheck(check: CheckRow, instance: (id: string) => ServiceRow | undefined): readonly string[] {
  if (check.ServiceID === '') return [nodeTopic]
  const row = instance(check.ServiceID)
  return row === undefined ? [] : ofHealth(row)
}
