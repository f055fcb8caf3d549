// Consul's intentions, evaluated here: which of them speaks for a connection, and what it says. Pure, knows no HTTP.
import type { ConsulService } from '../identity/consul-service.ts'

export type Action = 'allow' | 'deny'

/** An intention whose destination is our service, or a wildcard. */
export interface Intention {
  readonly sourceNamespace: string
  readonly sourceName: string
  readonly sourcePartition: string
  readonly destinationNamespace: string
  readonly destinationName: string
  readonly action: Action
  /** It decides by what is inside the connection, which is not looked at here: then its action is deny. */
  readonly layer7?: true
}

export interface Intentions {
  readonly rules: readonly Intention[]
  /** What holds where no rule does. */
  readonly defaultAction: Action
}

export interface Decision {
  readonly action: Action
  /** The rule that decided; absent where the default did. */
  readonly rule?: Intention
}

const wildcard = '*'

/** The first rule in order of precedence that matches the source decides (Consul: intention precedence). */
export function decide({ rules, defaultAction }: Intentions, source: ConsulService): Decision {
  let best: Intention | undefined
  for (const rule of rules) {
    if (!matches(rule, source)) continue
    if (best === undefined || precedence(rule) > precedence(best)) best = rule
  }
  return best === undefined ? { action: defaultAction } : { action: best.action, rule: best }
}

/** Sources match by name, namespace and partition; not by datacenter. */
function matches(rule: Intention, source: ConsulService): boolean {
  if (rule.sourcePartition !== source.partition) return false
  const namespace = rule.sourceNamespace === wildcard || rule.sourceNamespace === source.namespace
  return namespace && (rule.sourceName === wildcard || rule.sourceName === source.service)
}

/** 9 to 1, as Consul numbers them: the destination's exactness goes before the source's. */
export function precedence(rule: Intention): number {
  return (
    (exactness(rule.destinationNamespace, rule.destinationName) - 1) * 3 +
    exactness(rule.sourceNamespace, rule.sourceName)
  )
}

/** 3 for an exact name, 2 for any name of a namespace, 1 for any name of any. */
function exactness(namespace: string, name: string): number {
  if (namespace === wildcard) return 1
  return name === wildcard ? 2 : 3
}

export function describeRule(rule: Intention): string {
  const names = `${rule.sourceNamespace}/${rule.sourceName} => ${rule.destinationNamespace}/${rule.destinationName}`
  return `${rule.action} ${names}${rule.layer7 === true ? ' (its permissions are of layer 7)' : ''}`
}
