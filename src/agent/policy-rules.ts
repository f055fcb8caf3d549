// A policy's rules as text: HCL 1 or JSON, read into what grants are made of. Text in, rules out; who has them is not known here.
import { HclDepthError, HclError, parseHcl } from './hcl.ts'
import { Refusal } from './refusal.ts'

export const accesses = ['deny', 'read', 'list', 'write'] as const
export type Access = (typeof accesses)[number]

/** What rules are about by name; each has a `_prefix` twin. */
const namedKinds = ['service', 'node', 'agent', 'query', 'key', 'session', 'event'] as const
/** What there is one of. */
const plainKinds = ['operator', 'acl', 'keyring'] as const

export type NamedKind = (typeof namedKinds)[number] | 'intention'
export type PlainKind = (typeof plainKinds)[number]

export interface NamedRule {
  readonly kind: NamedKind
  readonly name: string
  /** Of every name that begins so. */
  readonly prefix: boolean
  readonly access: Access
}

export interface Rules {
  readonly named: readonly NamedRule[]
  readonly plain: readonly { readonly kind: PlainKind; readonly access: Access }[]
}

// More than rules have, in objects within objects; what is deeper was made to be so.
const deepest = 32
const noRules: Rules = { named: [], plain: [] }

/**
 * Kinds and keys that are not known are passed over, as Consul does.
 * @throws Refusal
 */
export function parseRules(text: string): Rules {
  if (text.trim() === '') return noRules
  const named: NamedRule[] = []
  const plain: Rules['plain'][number][] = []
  for (const [key, value] of Object.entries(parseText(text))) {
    const kind = key.toLowerCase()
    const only = plainKinds.find(known => known === kind)
    const about = namedKinds.find(known => kind === known || kind === `${known}_prefix`)
    // Said, but empty: as if it were not.
    if (only !== undefined && value !== '') plain.push({ kind: only, access: accessOf(value, { kind }) })
    if (about !== undefined) named.push(...namedRules(about, kind, value))
  }
  return { named, plain }
}

/** @throws Refusal */
function parseText(text: string): object {
  let value: unknown
  try {
    // As HCL 1 tells them apart.
    value = /^\s*\{/.test(text) ? JSON.parse(text) : parseHcl(text)
  } catch (error) {
    // Depth is somebody's intent, an error of syntax their mistake: Consul answers that by 500.
    if (error instanceof HclError)
      throw new Refusal(
        error instanceof HclDepthError ? 400 : 500,
        `Failed to parse ACL rules: ${error.message}`,
      )
    throw new Refusal(500, 'Failed to parse ACL rules: got text that does not parse, expected HCL or JSON')
  }
  if (isDeeper(value, deepest))
    throw new Refusal(
      400,
      `Failed to parse ACL rules: got objects within objects, expected at most ${deepest} deep`,
    )
  return value as object
}

function isDeeper(value: unknown, left: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return left === 0 || Object.values(value).some(inner => isDeeper(inner, left - 1))
}

function namedRules(about: (typeof namedKinds)[number], kind: string, value: unknown): readonly NamedRule[] {
  const prefix = kind !== about
  return blocks(value, kind).flatMap(byName =>
    Object.entries(byName).flatMap(([name, rule]) =>
      blocks(rule, kind).flatMap(body => {
        const keys = new Map(Object.entries(body).map(([key, inner]) => [key.toLowerCase(), inner]))
        const access = accessOf(keys.get('policy'), { kind, name })
        const own: NamedRule = { kind: about, name, prefix, access }
        if (about !== 'service') return [own]
        const said = keys.get('intentions')
        const intentions =
          said === undefined || said === '' ? undefined : accessOf(said, { kind: 'service intentions', name })
        return [own, ...intentionRules(own, intentions)]
      }),
    ),
  )
}

/** Said, they are merged by themselves; else they follow from the merged rule of the service (`grants.ts`). */
function intentionRules({ name, prefix }: NamedRule, access: Access | undefined): readonly NamedRule[] {
  return access === undefined ? [] : [{ kind: 'intention', name, prefix, access }]
}

/** A block is an object; several of one kind are a list of them. */
function blocks(value: unknown, kind: string): readonly object[] {
  const all = [value].flat()
  if (all.every(one => typeof one === 'object' && one !== null && !Array.isArray(one))) return all as object[]
  throw new Refusal(
    500,
    `Failed to parse ACL rules: ${kind}: got a value, expected blocks, as in ${kind} "NAME" { policy = "read" }`,
  )
}

function accessOf(value: unknown, { kind, name }: { readonly kind: string; readonly name?: string }): Access {
  const allowed =
    kind.startsWith('key') && kind !== 'keyring' ? accesses : accesses.filter(one => one !== 'list')
  const access = allowed.find(one => one === value)
  if (access !== undefined) return access
  const got =
    typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : `a value of type ${typeof value}`
  const where = name === undefined ? '' : ` for ${JSON.stringify(name.slice(0, 80))}`
  throw new Refusal(500, `Invalid ${kind} policy: got ${got}${where}, expected ${allowed.join(', ')}`)
}
