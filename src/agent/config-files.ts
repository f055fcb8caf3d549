// An agent's configuration from files and folders, JSON and HCL alike: settings, and definitions each with where it stands.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigError, type Problem } from '../config/problem.ts'
import type { Json } from '../consul/shape.ts'
import { errorCode } from '../errors.ts'
import { canonical, checker, problemOf, snake } from './canonical.ts'
import { configSchema, passedOverKeys } from './config-schema.ts'
import { HclError, parseHcl } from './hcl.ts'
import { checkSchema, fileServiceSchema, type Schema } from './schemas.ts'

export interface Definition {
  readonly kind: 'service' | 'check'
  readonly body: Json
  /** File and key, as problems name it. */
  readonly where: string
}

export interface AgentFiles {
  /** Of all files, those read later going before. */
  readonly settings: Json
  readonly definitions: readonly Definition[]
  /** Of single definitions: the rest holds. */
  readonly problems: readonly Problem[]
  /** Keys that are Consul's and mean nothing here. */
  readonly passedOver: readonly string[]
}

const definitionKeys = ['Service', 'Services', 'Check', 'Checks'] as const
const checkConfig = checker(configSchema)
const checkers = { service: checker(fileServiceSchema), check: checker(checkSchema) }
const schemas: Readonly<Record<Definition['kind'], Schema>> = {
  service: fileServiceSchema,
  check: checkSchema,
}

/** @throws ConfigError where the settings are wrong, or a file can't be read */
export function readAgentFiles(paths: readonly string[]): AgentFiles {
  const problems: Problem[] = []
  const definitions: Definition[] = []
  let settings: Json = {}
  for (const file of paths.flatMap(filesOf)) {
    const config = readConfig(file)
    for (const key of definitionKeys)
      for (const [at, body] of [config[key] ?? []].flat().entries()) {
        const kind = key.startsWith('Service') ? 'service' : 'check'
        const name = key.endsWith('s') || Array.isArray(config[key]) ? `${snake(key)}[${at}]` : snake(key)
        const checked = check(kind, body, { file, name })
        problems.push(...checked.problems)
        if (checked.definition !== undefined) definitions.push(checked.definition)
      }
    settings = merged(
      settings,
      Object.fromEntries(Object.entries(config).filter(([key]) => !isDefinition(key))),
    )
  }
  return {
    settings,
    definitions,
    problems,
    passedOver: passedOverKeys.filter(key => settings[key] !== undefined).map(snake),
  }
}

function isDefinition(key: string): boolean {
  return (definitionKeys as readonly string[]).includes(key)
}

/** As Consul: files that end in .json or .hcl, in the order of their names; a file that is named itself is one of either. */
function filesOf(path: string): readonly string[] {
  try {
    if (!statSync(path).isDirectory()) return [path]
    return readdirSync(path)
      .filter(name => /\.(json|hcl)$/.test(name))
      .toSorted()
      .map(name => join(path, name))
  } catch (cause) {
    throw unreadable(path, cause)
  }
}

function readConfig(file: string): Json {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw unreadable(file, cause)
  }
  const config = canonical(parseText(file, text), configSchema)
  if (checkConfig(config)) return config as Json
  throw new ConfigError(
    (checkConfig.errors ?? []).map(error => problemOf(error, file)),
    [file],
  )
}

function parseText(file: string, text: string): unknown {
  try {
    return file.endsWith('.hcl') || !/^\s*\{/.test(text) ? parseHcl(text) : JSON.parse(text)
  } catch (error) {
    if (error instanceof HclError)
      throw new ConfigError(
        [{ where: `${file}:${error.line}`, got: error.got, expected: error.expected }],
        [file],
      )
    // What JSON's parser says may repeat what stands there.
    const [, at] = /at (?:position )?(line \d+ column \d+|\d+)/.exec(String(error)) ?? []
    throw new ConfigError(
      [
        {
          where: file,
          got: `text that does not parse${at === undefined ? '' : ` (at ${at})`}`,
          expected: 'JSON, or HCL',
        },
      ],
      [file],
    )
  }
}

function check(
  kind: Definition['kind'],
  value: unknown,
  { file, name }: { readonly file: string; readonly name: string },
): { readonly definition?: Definition; readonly problems: readonly Problem[] } {
  const body = canonical(value, schemas[kind])
  const validate = checkers[kind]
  if (validate(body))
    return { definition: { kind, body: body as Json, where: `${file}: ${name}` }, problems: [] }
  return { problems: (validate.errors ?? []).map(error => problemOf(error, file, name)) }
}

/** Objects are put together key by key, everything else is replaced. */
function merged(before: Json, after: Json): Json {
  const both = Object.entries(after).map(([key, value]) => {
    const old = before[key]
    return [key, isObject(old) && isObject(value) ? merged(old, value) : value] as const
  })
  return { ...before, ...Object.fromEntries(both) }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unreadable(path: string, cause: unknown): ConfigError {
  return new ConfigError([
    { where: path, got: errorCode(cause), expected: 'a file or folder that can be read' },
  ])
}
