// The shipped JSON Schema, applied: what it finds becomes problems in the words of the file.
import type { ErrorObject } from 'ajv/dist/2020.js'
import { formats } from './formats.ts'
import { type PlaceOf, type Problem, show } from './problem.ts'
import { shippedSchema } from './shipped-schema.ts'
import { validate } from './validate.ts'

export interface SettingSchema {
  readonly type?: string | readonly string[]
  readonly enum?: readonly string[]
  readonly format?: string
  readonly default?: unknown
  readonly description?: string
  readonly $ref?: string
}

interface Schema {
  readonly properties: Readonly<Record<string, SettingSchema>>
}

// The schema's pattern of a whole number.
const wholeNumber = '^[0-9]+$'

/** The settings of the top level that hold one value: each is a key of the file and a flag. */
export function scalarSettings(): ReadonlyMap<string, SettingSchema> {
  const scalars = Object.entries((shippedSchema as Schema).properties).filter(([name, { type }]) => {
    return name !== '$schema' && name !== 'service' && type !== 'object' && type !== 'array'
  })
  return new Map(scalars)
}

/** Checks a parsed file, filling defaults in; the problems name keys as in the file. */
export function checkSchema(value: unknown, placeOf: PlaceOf): readonly Problem[] {
  if (validate(value)) return []
  return (validate.errors ?? []).map(error => toProblem(error, placeOf))
}

function toProblem(error: ErrorObject, placeOf: PlaceOf): Problem {
  const at = keyOf(error.instancePath)
  const params = error.params as Record<string, string>
  if (error.keyword === 'additionalProperties') {
    const known = Object.keys((error.parentSchema as unknown as Schema).properties).filter(
      name => name !== '$schema',
    )
    const key = join(at, params.additionalProperty ?? '')
    return { ...placeOf(key), got: 'an unknown key', expected: `one of ${known.join(', ')}` }
  }
  if (error.keyword === 'required') {
    const key = join(at, params.missingProperty ?? '')
    return { ...placeOf(key), got: 'nothing', expected: 'this key' }
  }
  return {
    ...placeOf(at),
    got: show(error.data),
    expected: expectation(error),
  }
}

function expectation({ keyword, params, schema: rule }: ErrorObject): string {
  if (keyword === 'format') return formats[rule as keyof typeof formats].expected
  if (keyword === 'enum') return `one of ${(rule as string[]).join(', ')}`
  if (keyword === 'pattern')
    return rule === wholeNumber ? typeNames(['integer', 'string']) : typeNames(['number', 'string'])
  if (keyword === 'type') return typeNames(rule as string | string[])
  if (keyword === 'minimum') return `at least ${params.limit}`
  if (keyword === 'maximum') return `at most ${params.limit}`
  if (keyword === 'minItems') return `at least ${params.limit} of them`
  if (keyword === 'minLength') return 'some text'
  if (keyword === 'uniqueItems') return 'each of them once'
  return keyword
}

function typeNames(type: string | string[]): string {
  const names: Record<string, string> = {
    object: 'an object',
    array: 'an array',
    string: 'a string',
    integer: 'a whole number',
    boolean: 'true or false',
  }
  if (typeof type === 'string') return names[type] ?? type
  return type.includes('integer')
    ? 'a whole number, or a string that holds one'
    : 'a number, or a string that holds one'
}

/** `/upstreams/0/endpoints` is `upstreams[0].endpoints`. */
function keyOf(instancePath: string): string {
  return instancePath
    .split('/')
    .slice(1)
    .map(part => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce((key, part) => (/^\d+$/.test(part) ? `${key}[${part}]` : join(key, part)), '')
}

function join(parent: string, name: string): string {
  return parent === '' ? name : `${parent}.${name}`
}
