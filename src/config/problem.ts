// What is wrong with a configuration: every problem at once, each with where it is, what was got and what was expected.
import { SidespliceError } from '../errors.ts'

export interface Problem {
  /** The file, or the flag or variable that a value came from. */
  readonly where: string
  /** The key within the file, as `upstreams[0].local_bind_port`; absent where the whole file is meant. */
  readonly key?: string
  readonly got: string
  readonly expected: string
}

/** Where a key's value came from. */
export type PlaceOf = (key: string) => Pick<Problem, 'where' | 'key'>

export class ConfigError extends SidespliceError {
  readonly problems: readonly Problem[]
  /** The files that it is about, as far as they are known: where it may be put right. */
  readonly files: readonly string[]

  constructor(problems: readonly Problem[], files: readonly string[] = []) {
    super(problems.map(formatProblem).join('\n'), { source: 'config', code: 'bad_config' })
    this.problems = problems
    this.files = files
  }
}

export function formatProblem({ where, key, got, expected }: Problem): string {
  const place = [where, ...(key === undefined ? [] : [key])].map(withoutPem).join(': ')
  return `${place}: got ${withoutPem(got)}, expected ${expected}`
}

/** A key that stands where its file's name belongs, or anywhere else, is not repeated: errors go to logs. */
function withoutPem(text: string): string {
  return text.replace(/-----BEGIN.*$/s, '(PEM text, not shown)')
}

/** A value as an error shows it: JSON, cut where it is long. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = jsonOf(value)
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}

/** What an agent answers may be nested deeper than it can be written out. */
function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return 'a value that can not be shown'
  }
}
