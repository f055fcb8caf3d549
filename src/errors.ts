// The error type of the whole product: a code to match on, facts as fields, a message that says got and expected.

/** Which part of the product an error comes from. */
export const errorSources = ['config', 'identity', 'consul', 'data-plane', 'admin', 'cli', 'agent'] as const
export type ErrorSource = (typeof errorSources)[number]

export interface ErrorFacts {
  readonly source: ErrorSource
  readonly code: string
  readonly cause?: unknown
}

/** Match on `code`, never on the message. */
export class SidespliceError extends Error {
  readonly source: ErrorSource
  readonly code: string

  constructor(message: string, facts: ErrorFacts) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.name = 'SidespliceError'
    this.source = facts.source
    this.code = facts.code
  }
}

/** The `code` of a Node or OpenSSL error, or its message where it has none: what a log field can hold. */
export function errorCode(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string') {
    return error.code
  }
  return error instanceof Error ? error.message : String(error)
}
