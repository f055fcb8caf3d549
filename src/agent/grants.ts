// Rules of several policies made into rights: merged, then looked up by name, the exact before the longest prefix. Pure.
import {
  type Access,
  accesses,
  type NamedKind,
  type NamedRule,
  type PlainKind,
  type Rules,
} from './policy-rules.ts'
import type { Grants } from './rights.ts'

export interface GrantsOptions {
  /** What holds where no rule speaks. */
  readonly fallback: Grants
  /** Of the one node there is. */
  readonly node: string
}

export function grantsOf(rules: readonly Rules[], { fallback, node }: GrantsOptions): Grants {
  const named = withIntentions(mergeNamed(rules.flatMap(one => one.named)))
  const tables = new Map<NamedKind, Table>()
  for (const rule of named) {
    const table = tables.get(rule.kind) ?? new Table()
    table.add(rule)
    tables.set(rule.kind, table)
  }
  const plain = new Map<PlainKind, Access>()
  for (const { kind, access } of rules.flatMap(one => one.plain))
    plain.set(kind, stronger(plain.get(kind), access))
  const may = (kind: NamedKind, name: string, wanted: Wanted): boolean | undefined =>
    allows(tables.get(kind)?.find(name), wanted)
  const intentions = tables.get('intention')
  const writes = (service: string) => may('service', service, 'write') ?? fallback.writes(service)
  const reads = (service: string) => may('service', service, 'read') ?? fallback.reads(service)
  const writesTokens = allows(plain.get('acl'), 'write') ?? fallback.writesTokens
  const either = (rule: boolean | undefined, otherwise: boolean) => rule ?? otherwise
  return {
    represents: writes,
    writes,
    reads,
    readsInstance: ({ Service }) => reads(Service),
    asksAbout: reads,
    readsIntentions: service =>
      (service === '*' ? intentions?.any('read') : may('intention', service, 'read')) ??
      fallback.readsIntentions(service),
    writesIntentions: service =>
      (service === '*' ? intentions?.all('write') : may('intention', service, 'write')) ??
      fallback.writesIntentions(service),
    // Whoever may give itself every right is not kept from seeing them.
    readsQuery: name => writesTokens || (may('query', name, 'read') ?? fallback.readsQuery(name)),
    writesQuery: name => may('query', name, 'write') ?? fallback.writesQuery(name),
    readsNodes: either(may('node', node, 'read'), fallback.readsNodes),
    writesNodes: either(may('node', node, 'write'), fallback.writesNodes),
    readsAgent: either(may('agent', node, 'read'), fallback.readsAgent),
    writesOperator: either(allows(plain.get('operator'), 'write'), fallback.writesOperator),
    readsTokens: either(allows(plain.get('acl'), 'read'), fallback.readsTokens),
    writesTokens,
  }
}

/** What a token with a service's identity may do, as if a policy said so. */
export function rulesOfIdentity(service: string): Rules {
  const rule = (kind: NamedKind, name: string, access: Access): NamedRule => ({
    ...{ kind, name, access },
    prefix: name === '',
  })
  return {
    named: [
      rule('service', service, 'write'),
      rule('service', `${service}-sidecar-proxy`, 'write'),
      rule('service', '', 'read'),
      rule('node', '', 'read'),
    ],
    plain: [],
  }
}

type Wanted = 'read' | 'write'

/** Undefined where there is no rule. */
function allows(access: Access | undefined, wanted: Wanted): boolean | undefined {
  if (access === undefined) return undefined
  return access === 'write' || (wanted === 'read' && access !== 'deny')
}

/** Of two for the same: deny wins, then what allows more. */
function stronger(a: Access | undefined, b: Access): Access {
  if (a === undefined || b === 'deny') return b
  if (a === 'deny') return a
  return accesses.indexOf(a) > accesses.indexOf(b) ? a : b
}

function mergeNamed(rules: readonly NamedRule[]): readonly NamedRule[] {
  const merged = new Map<string, NamedRule>()
  for (const rule of rules) {
    const key = JSON.stringify([rule.kind, rule.prefix, rule.name])
    const before = merged.get(key)
    merged.set(key, { ...rule, access: stronger(before?.access, rule.access) })
  }
  return [...merged.values()]
}

/** Whoever may see or change a service may see its intentions, where no policy says what holds for them. */
function withIntentions(rules: readonly NamedRule[]): readonly NamedRule[] {
  const said = new Set(rules.filter(({ kind }) => kind === 'intention').map(keyOf))
  const derived = rules
    .filter(rule => rule.kind === 'service' && !said.has(keyOf(rule)))
    .map(rule => ({
      ...rule,
      kind: 'intention' as const,
      access: rule.access === 'deny' ? ('deny' as const) : ('read' as const),
    }))
  return [...rules, ...derived]
}

function keyOf({ name, prefix }: NamedRule): string {
  return `${prefix} ${name}`
}

/** Rules of one kind by name. */
class Table {
  readonly #exact = new Map<string, Access>()
  readonly #prefixes = new Map<string, Access>()
  #longest = 0

  add({ name, prefix, access }: NamedRule): void {
    const rules = prefix ? this.#prefixes : this.#exact
    rules.set(name, access)
    if (prefix) this.#longest = Math.max(this.#longest, name.length)
  }

  find(name: string): Access | undefined {
    const exact = this.#exact.get(name)
    if (exact !== undefined) return exact
    for (let length = Math.min(name.length, this.#longest); length >= 0; length--) {
      const access = this.#prefixes.get(name.slice(0, length))
      if (access !== undefined) return access
    }
    return undefined
  }

  /** Whether there is a name that may; where none may, a rule for all of them says no, and none says nothing. */
  any(wanted: Wanted): boolean | undefined {
    if (this.#all().some(access => allows(access, wanted) === true)) return true
    return this.#prefixes.has('') ? false : undefined
  }

  /** Whether every name may: one that may not says no for all, and only a rule for all of them says yes. */
  all(wanted: Wanted): boolean | undefined {
    if (this.#all().some(access => allows(access, wanted) !== true)) return false
    return this.#prefixes.has('') ? true : undefined
  }

  #all(): readonly Access[] {
    return [...this.#exact.values(), ...this.#prefixes.values()]
  }
}
