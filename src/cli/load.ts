// From a file's name and the flags over it to everything that a sidecar starts from.
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Config, identityFilesIn, type Overrides, parseConfig } from '../config/config.ts'
import { readIdentity } from '../config/identity-files.ts'
import { ConfigError, type Problem } from '../config/problem.ts'
import { readRegularFile } from '../config/regular-file.ts'
import { errorCode } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { desiredState } from '../snapshot/from-config.ts'
import type { DesiredState } from '../snapshot/snapshot.ts'

export interface Loaded {
  readonly config: Config
  readonly desired: DesiredState
  /** What to watch for changes. */
  readonly files: readonly string[]
  /** Why the certificates could not be taken, where the former ones stand in for them. */
  readonly problems: readonly Problem[]
}

/**
 * With `former` a configuration stands also where its certificates can't be taken: a change of who may connect does not wait
 * for a certificate that is late.
 * @throws ConfigError with every problem found
 */
export async function load(file: string, overrides: Overrides, former?: Identity): Promise<Loaded> {
  const source = { file, text: await readConfig(file, former !== undefined), overrides }
  const problems: Problem[] = []
  const config = await collect(problems, async () => parseConfig(source))
  const identityFiles = config?.identityFiles ?? identityFilesIn(source)
  const read = identityFiles && (await collect(problems, () => readIdentity(identityFiles, Date.now())))
  const identity = read ?? former
  const files = [resolve(file), ...Object.values(identityFiles ?? {})]
  if (config === undefined || identity === undefined) throw new ConfigError(problems, files)
  return { config, desired: desiredState(config, identity), files, problems }
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

/** At the start the configuration may come from a pipe, as `--config <(make-config)` does; a reload must not wait for one. */
async function readConfig(file: string, reloading: boolean): Promise<string> {
  try {
    return (await (reloading ? readRegularFile(file) : readFile(file))).toString()
  } catch (error) {
    throw new ConfigError([{ where: file, got: errorCode(error), expected: 'a file that can be read' }])
  }
}
