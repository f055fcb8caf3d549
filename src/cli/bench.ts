// `sidesplice bench`: what this machine can do, what a hop costs on it, or what a deployed chain does.
import { Command } from 'commander'
import { parseAddress } from '../address.ts'

export interface BenchValues {
  readonly upstream?: string
  readonly app?: string
  readonly seconds: string
}

const exitFailure = 2

export function benchCommand(): Command {
  const command = new Command('bench')
    .description(
      'Measure this machine and what a hop costs here; or, with --upstream, a chain that runs already.',
    )
    .option('--upstream <address>', 'an upstream listener, behind which a `sidesplice bench --app` answers')
    .option(
      '--app <address>',
      'be the app behind a chain that is measured; anyone who reaches it can load it',
    )
    .option('--seconds <n>', 'how long each measurement takes', '2')
  return command.action(async (values: BenchValues) => {
    if (values.upstream !== undefined && values.app !== undefined)
      command.error('error: got --upstream and --app, expected one of them')
    for (const name of ['upstream', 'app'] as const) {
      const address = values[name]
      if (address !== undefined && parseAddress(address) === undefined)
        command.error(`error: --${name}: got ${address}, expected host:port`)
    }
    if (!(Number(values.seconds) > 0))
      command.error(`error: --seconds: got ${values.seconds}, expected a number above 0`)
    // Only now: a sidecar has no use for what makes certificates.
    const { runBenchCommand } = await import('./bench/run-bench.ts')
    try {
      await runBenchCommand(values)
    } catch (error) {
      process.stderr.write(`${error instanceof Error ? error.message : error}\n`)
      process.exitCode = exitFailure
    }
    process.exit()
  })
}
