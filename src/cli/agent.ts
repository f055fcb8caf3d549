// `sidesplice agent`: the embedded control plane of one machine, from its start to its end.
import { Command, Option } from 'commander'

export interface AgentCommandValues {
  readonly dev?: boolean
  readonly config?: readonly string[]
  readonly configFile?: readonly string[]
  readonly configDir?: readonly string[]
  readonly dataDir?: string
  readonly httpPort?: string
  readonly unsafeListen?: boolean
  readonly logLevel?: string
  readonly logJson?: boolean
}

export function agentCommand({ version }: { readonly version: string }): Command {
  const command = new Command('agent').description(
    'Run the embedded agent: catalog, CA, intentions, tokens and proxies of one machine.',
  )
  const several = (flag: string, description: string) =>
    new Option(flag, description).argParser((value: string, before: readonly string[] = []) => [
      ...before,
      value,
    ])
  for (const option of [
    new Option('--dev', 'keep all state in memory'),
    several('--config <file>', 'configuration and definitions, JSON or HCL; may be given several times'),
    several('--config-file <file>', "the same, as Consul's agent calls it"),
    several('--config-dir <folder>', 'folder of such files (.json, .hcl); may be given several times'),
    new Option('--data-dir <folder>', 'where state is kept (data_dir)'),
    new Option('--http-port <port>', 'port of the HTTP API (ports.http, default 8500)'),
    new Option('--unsafe-listen', 'allow client_addr beyond loopback, although there is no TLS'),
    new Option('--log-level <level>', 'debug, info, warn or error (log_level, default info)'),
    new Option('--log-json', 'log lines as JSON'),
  ])
    command.addOption(option)
  return command.action(async (values: AgentCommandValues) => {
    // Only now: a sidecar has no use for what an agent is made of.
    const { runAgent } = await import('./run-agent.ts')
    process.exitCode = await runAgent(values, version)
    process.exit()
  })
}
