// The command line: what commands there are, and how the process ends.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { packageRoot } from '../package-root.ts'
import { agentCommand } from './agent.ts'
import { benchCommand } from './bench.ts'
import { demoCommand } from './demo.ts'
import { fromGoSpelling } from './go-flags.ts'
import { manageCommand } from './manage.ts'
import { caCommand } from './operator/ca.ts'
import { intentionCommand } from './operator/intention.ts'
import { proxiesCommand, servicesCommand } from './operator/services.ts'
import { tokensCommand } from './operator/tokens.ts'
import { proxyCommand } from './proxy.ts'

/** 0 clean, 1 bad usage or configuration, 2 a failure while running. */
export const exitCodes = { clean: 0, usage: 1, failure: 2 } as const

const testedAgainst = 'Consul: run against 1.8.7; 1.9 to 1.20 from their source'

export interface MainOptions {
  readonly argv: readonly string[]
  /** Registers what SIGUSR1 does; the handler itself is installed before anything is imported. */
  readonly onPrintMetrics: (handler: () => void) => void
}

export async function main({ argv, onPrintMetrics }: MainOptions): Promise<void> {
  const program = new Command('sidesplice')
    .description(
      'An L4 sidecar proxy for Consul Connect: mutual TLS, identity and authorization for unmodified applications.',
    )
    .version(`${version()} (${testedAgainst})`, '--version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .showHelpAfterError('(sidesplice --help tells more)')
    .addCommand(proxyCommand({ version: version(), onPrintMetrics }))
    .addCommand(benchCommand())
    .addCommand(agentCommand({ version: version() }))
    .addCommand(manageCommand())
    .addCommand(servicesCommand())
    .addCommand(proxiesCommand())
    .addCommand(intentionCommand())
    .addCommand(caCommand())
    .addCommand(tokensCommand())
    .addCommand(demoCommand({ version: version() }))
  for (const command of program.commands)
    command
      .helpOption('-h, --help', 'print this help')
      .showHelpAfterError(`(sidesplice ${command.name()} --help tells more)`)
  await program.parseAsync([...argv.slice(0, 2), ...fromGoSpelling(argv.slice(2))])
}

/** Of the package that this file belongs to. */
function version(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')) as {
    version: string
  }
  return version
}
