// `sidesplice proxy`: reads its options, checks, runs one sidecar until it is told to stop.
import { Command } from 'commander'
import type { Overrides } from '../config/config.ts'
import { isReadableByOthers } from '../config/identity-files.ts'
import { requireAvailable } from '../data-plane/open.ts'
import { SidespliceError } from '../errors.ts'
import { uselessRules } from '../snapshot/from-config.ts'
import { closeUnaskedInspector } from './inspector.ts'
import { type Loaded, load } from './load.ts'
import { createLog, type ProcessLog } from './logger.ts'
import { runSidecar } from './run-sidecar.ts'
import { overridesFrom, settingOptions } from './settings.ts'

const exitUsage = 1
const exitFailure = 2
// How long the last lines may take to leave a process that ends.
const lastLinesMs = 1_000

export interface ProxyCommandOptions {
  readonly version: string
  readonly onPrintMetrics: (handler: () => void) => void
}

export function proxyCommand(options: ProxyCommandOptions): Command {
  const command = new Command('proxy')
    .description('Run the sidecar of one service.')
    .option('--config <file>', 'JSON configuration; schema/sidesplice.schema.json describes it (required)')
    .option('--check', 'check configuration and certificates, say what is wrong, and exit')
  for (const option of settingOptions()) command.addOption(option)
  return command.action(async (values: { readonly config?: string; readonly check?: boolean }) => {
    const { config, check = false } = values
    // Not commander's own check, which would come before that for unknown options: `--confg` is a typing error.
    if (config === undefined) return command.error("error: required option '--config <file>' not specified")
    process.exitCode = await run({ config, check }, overridesFrom({ ...values }, process.env), options)
    // Nothing is left to wait for but what a library keeps open; the lines are out.
    process.exit()
  })
}

async function run(
  { config: file, check }: { readonly config: string; readonly check: boolean },
  overrides: Overrides,
  options: ProxyCommandOptions,
): Promise<number> {
  await closeUnaskedInspector()
  let loaded: Loaded
  try {
    loaded = await load(file, overrides)
    requireAvailable(loaded.config.process.dataPlane)
  } catch (error) {
    return refuse(error)
  }
  if (check) {
    process.stdout.write(
      `${file}: good; ${loaded.desired.identity.leaf.id.uri}, ${loaded.config.upstreams.length} upstreams\n`,
    )
    for (const rule of uselessRules(loaded.desired))
      process.stdout.write(`warning: another trust domain than ours, never matches: ${rule}\n`)
    return 0
  }
  const { logLevel, logJson } = loaded.config.process
  const log = createLog({ level: logLevel, json: logJson, fd: 1 })
  process.on('uncaughtException', error => {
    log.error({ error: error.stack ?? error.message }, 'a defect in sidesplice, stopping')
    log.flushSync(lastLinesMs)
    process.exit(exitFailure)
  })
  return runLogged(log, async () => {
    if (await isReadableByOthers(loaded.config.identityFiles.keyFile)) {
      log.warn(
        { file: loaded.config.identityFiles.keyFile },
        'the private key can be read by every user of this machine',
      )
    }
    await runSidecar({ file, overrides, loaded, log, ...options })
  })
}

async function runLogged(log: ProcessLog, body: () => Promise<void>): Promise<number> {
  try {
    await body()
    return 0
  } catch (error) {
    const known = error instanceof SidespliceError
    const message = error instanceof Error ? error.message : String(error)
    log.error({ error: known ? error.code : error instanceof Error ? error.stack : message }, message)
    process.stderr.write(`sidesplice: ${message}\n`)
    return exitFailure
  } finally {
    await log.flush(lastLinesMs)
  }
}

/** Before there is a log: every problem to standard error, a line each. */
function refuse(error: unknown): number {
  if (!(error instanceof SidespliceError)) throw error
  process.stderr.write(`${error.message}\n`)
  return exitUsage
}
