// From a file's name and the flags over it to everything that a sidecar starts from.
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Config, identityFilesIn, type Overrides, parseConfig } from '../config/config.ts'
import { readIdentity } from '../config/identity-files.ts'
import { ConfigError, type Problem } from '../config/problem.ts'
import { errorCode } from '../errors.ts'
import { desiredState } from '../snapshot/from-config.ts'
import type { DesiredState } from '../snapshot/snapshot.ts'

export interface Loaded {
  readonly config: Config
  readonly desired: DesiredState
  /** What to watch for changes. */
  readonly files: readonly string[]
}

/** @throws ConfigError with every problem found */
export async function load(file: string, overrides: Overrides): Promise<Loaded> {
  const source = { file, text: await readConfig(file), overrides }
  const problems: Problem[] = []
  const config = await collect(problems, async () => parseConfig(source))
  const identityFiles = config?.identityFiles ?? identityFilesIn(source)
  const identity = identityFiles && (await collect(problems, () => readIdentity(identityFiles, Date.now())))
  if (config === undefined || identity === undefined) throw new ConfigError(problems)
  return { config, desired: desiredState(config, identity), files: filesOf(file, config) }
}

/** Notes the problems of one step, so that those of the next are told with them. */
async function collect<T>(problems: Problem[], step: () => Promise<T>): Promise<T | undefined> {
  try {
    return await step()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    problems.push(...error.problems)
    return undefined
  }
}

/** The configuration file and those that it names. */
export function filesOf(file: string, { identityFiles }: Config): readonly string[] {
  return [resolve(file), identityFiles.certFile, identityFiles.keyFile, identityFiles.caFile]
}

async function readConfig(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new ConfigError([{ where: file, got: errorCode(error), expected: 'a file that can be read' }])
  }
}
