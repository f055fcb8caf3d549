// `sidesplice manage`: managed proxies beside a real Consul agent.
import { Command, Option } from 'commander'
import { type AgentValues, agentOptions } from './agent-options.ts'

export interface ManageValues extends AgentValues {
  readonly config?: readonly string[]
  readonly fromMetadata?: boolean
  readonly makeTokens?: boolean
  readonly dataDir?: string
  readonly logLevel?: string
  readonly logJson?: boolean
}

export function manageCommand(): Command {
  const command = new Command('manage').description(
    'Start and mind the proxies of services on a Consul agent: one for each service of the configuration, and each that asks by its metadata.',
  )
  for (const option of [
    new Option(
      '--config <file>',
      'services with connect { proxy {} }, JSON or HCL, a file or a folder; may be given several times',
    ).argParser((value: string, before: readonly string[] = []) => [...before, value]),
    new Option(
      '--from-metadata',
      'also each service of the agent whose metadata says sidesplice-managed = "true"; for these sidesplice proxy alone is started',
    ),
    new Option(
      '--make-tokens',
      'make a token for each proxy, and delete it with the proxy. Needs acl:write, by which one can make a token that may do ' +
        'everything: whoever has the token of this supervisor has the whole of Consul. token_file in a service needs no such right',
    ),
    new Option('--data-dir <folder>', 'logs, and who this supervisor is; without one proxies end with it'),
    new Option('--log-level <level>', 'debug, info, warn or error')
      .choices(['debug', 'info', 'warn', 'error'])
      .default('info'),
    new Option('--log-json', 'log lines as JSON'),
    ...agentOptions(),
  ])
    command.addOption(option)
  return command.action(async (values: ManageValues) => {
    // Only now: a sidecar has no use for it.
    const { runManage } = await import('./run-manage.ts')
    process.exitCode = await runManage(values)
    process.exit()
  })
}
