// Reading untrusted JSON: each reader says what it expected where.
import { SidespliceError } from '../errors.ts'

export type Json = Readonly<Record<string, unknown>>

export function shapeError(what: string, expected: string): SidespliceError {
  return new SidespliceError(`the agent's answer: ${what}: expected ${expected}`, {
    source: 'consul',
    code: 'agent_answer',
  })
}

export function object(value: unknown, what: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw shapeError(what, 'an object')
  return value as Json
}

/** Absent, null and {} are the same to Consul. */
export function optionalObject(value: unknown, what: string): Json {
  return value === undefined || value === null ? {} : object(value, what)
}

/** Versions answer null where there is nothing to list. */
export function list(value: unknown, what: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw shapeError(what, 'a list')
  return value
}

export function text(value: unknown, what: string): string {
  if (typeof value !== 'string' || value === '') throw shapeError(what, 'text')
  return value
}

/** Consul leaves out what is empty. */
export function optionalText(value: unknown, what: string): string {
  if (value === undefined || value === null) return ''
  if (typeof value !== 'string') throw shapeError(what, 'text')
  return value
}

export function optionalInteger(value: unknown, what: string): number {
  if (value === undefined || value === null) return 0
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw shapeError(what, 'a whole number')
  return value
}
