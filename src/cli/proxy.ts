// `sidesplice proxy`: reads its options, checks them, runs one sidecar until it is told to stop.
import { Command } from 'commander'
import { SidespliceError } from '../errors.ts'
import { endWithStdinVariable } from '../managed/processes.ts'
import { agentOptions } from './agent-options.ts'
import { closeUnaskedInspector } from './inspector.ts'
import { createLog, type ProcessLog, printable } from './logger.ts'
import { modeOptions, type Prepared, type ProxyValues, prepare } from './modes.ts'
import { endWithStdin } from './parent.ts'
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
  const command = new Command('proxy').description('Run the sidecar of one service.')
  for (const option of [...modeOptions(), ...settingOptions(), ...agentOptions()]) command.addOption(option)
  return command.action(async (values: ProxyValues) => {
    process.exitCode = await run(values, options, message => command.error(message))
    // Nothing is left to wait for but what a library keeps open; the lines are out.
    process.exit()
  })
}

async function run(
  values: ProxyValues,
  options: ProxyCommandOptions,
  usage: (message: string) => never,
): Promise<number> {
  if (process.env[endWithStdinVariable] === '1') endWithStdin()
  await closeUnaskedInspector()
  let prepared: Prepared
  try {
    prepared = await prepare(values, overridesFrom({ ...values }, process.env), process.env)
  } catch (error) {
    // Not commander's own check, which would come before that for unknown options: `--confg` is a typing error.
    if (error instanceof SidespliceError && error.code === 'usage') return usage(`error: ${error.message}`)
    return refuse(error)
  }
  if (values.check === true) {
    process.stdout.write(`${prepared.summary}\n`)
    return 0
  }
  const { logLevel, logJson } = prepared.settings
  const log = createLog({ level: logLevel, json: logJson, fd: 1 })
  process.on('uncaughtException', error => {
    log.error({ error: error.stack ?? error.message }, 'a defect in sidesplice, stopping')
    log.flushSync(lastLinesMs)
    process.exit(exitFailure)
  })
  return runLogged(log, async () => {
    for (const warning of prepared.warnings) log.warn(warning.fields, warning.message)
    await runSidecar({ source: prepared.source(log), log, ...options })
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
    process.stderr.write(`sidesplice: ${printable(message)}\n`)
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
