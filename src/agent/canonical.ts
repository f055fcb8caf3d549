// Consul takes `ServicePort`, `service_port` and `serviceport` for one key: here they become the one that the schema has.
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import { type Problem, show } from '../config/problem.ts'
import type { Schema } from './schemas.ts'

/** Lists and objects that a block of HCL was read into: a list of one may stand for the one (`hcl.ts`). */
const deepest = 64

/** The same value with the schema's spelling of keys, without nulls; what the schema does not know stays as it is. */
export function canonical(value: unknown, schema: Schema, depth = 0): unknown {
  if (depth > deepest) return value
  if (Array.isArray(value)) {
    const { items = {} } = schema
    return value.map(entry => canonical(entry, items, depth + 1))
  }
  if (typeof value !== 'object' || value === null) return value
  // HCL and JSON files may say one object where a list of them is meant.
  if (schema.type === 'array' && schema.items?.type === 'object')
    return [canonical(value, schema.items, depth)]
  const { properties } = schema
  const names = new Map(Object.keys(properties ?? {}).map(name => [fold(name), name]))
  const entries = Object.entries(value).flatMap(([key, entry]) => {
    if (entry === null) return []
    const name = properties === undefined ? key : (names.get(fold(key)) ?? key)
    const inner =
      properties?.[name] ??
      (typeof schema.additionalProperties === 'object' ? schema.additionalProperties : {})
    return [[name, canonical(entry, inner, depth + 1)] as const]
  })
  return Object.fromEntries(entries)
}

function fold(key: string): string {
  return key.toLowerCase().replaceAll('_', '')
}

// strictTypes would refuse lists of types, as a duration has.
export const ajv = new Ajv({ allErrors: false, allowUnionTypes: true, verbose: true })

export function checker(schema: Schema): ValidateFunction {
  return ajv.compile(schema)
}

/** As Go's JSON decoder words it, with what Consul puts before that. */
export function decodeFailure({ keyword, params, instancePath, parentSchema }: ErrorObject): string {
  const key = instancePath.split('/').at(-1) ?? ''
  const { type } = (parentSchema ?? {}) as Schema
  if (keyword === 'additionalProperties')
    return `Request decode failed: json: unknown field "${params.additionalProperty}"`
  if (keyword === 'type')
    return `Request decode failed: json: cannot unmarshal into field .${key}, which is of type ${type}`
  return `Request decode failed: ${key}: ${keyword} ${JSON.stringify(params)}`
}

/** The same for a file: with the key, what was got and what was expected. */
export function problemOf(error: ErrorObject, where: string, under = ''): Problem {
  const { keyword, params, instancePath, data, parentSchema } = error
  const at = instancePath
    .split('/')
    .slice(1)
    .reduce((key, part) => (/^\d+$/.test(part) ? `${key}[${part}]` : join(key, part)), under)
  const { type, properties = {}, minimum, maximum } = (parentSchema ?? {}) as Schema
  if (keyword === 'additionalProperties') {
    const known = Object.keys(properties).map(snake).join(', ')
    return {
      where,
      key: join(at, String(params.additionalProperty)),
      got: 'an unknown key',
      expected: known === '' ? 'no key' : `one of ${known}`,
    }
  }
  const expected =
    keyword === 'type'
      ? `a value of type ${[type].flat().join(' or ')}`
      : minimum !== undefined
        ? `${minimum} to ${maximum ?? 'any'}`
        : `${keyword} ${JSON.stringify(params)}`
  return { where, ...(at !== '' && { key: at }), got: show(data), expected }
}

function join(parent: string, key: string): string {
  const name = snake(key)
  return parent === '' ? name : `${parent}.${name}`
}

/** As files have it. */
export function snake(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1_$2')
    .toLowerCase()
}
