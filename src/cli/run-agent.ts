// The embedded agent as a process: its files, log and signals.
import { formatAddress } from '../address.ts'
import { EmbeddedAgent } from '../agent/agent.ts'
import { type AgentFiles, readAgentFiles } from '../agent/config-files.ts'
import { type AgentFlags, type AgentSettings, agentSettings } from '../agent/settings.ts'
import { formatProblem } from '../config/problem.ts'
import { SidespliceError } from '../errors.ts'
import { ManagedOfAgent } from '../managed/of-agent.ts'
import type { AgentCommandValues } from './agent.ts'
import { closeUnaskedInspector } from './inspector.ts'
import { createLog, type ProcessLog, printable } from './logger.ts'
import { stopSignals } from './stop-signals.ts'

const exitUsage = 1
const exitFailure = 2
// How long the last lines may take to leave a process that ends.
const lastLinesMs = 1_000

/** Returns the exit code. */
export async function runAgent(values: AgentCommandValues, version: string): Promise<number> {
  await closeUnaskedInspector()
  const paths = [...(values.config ?? []), ...(values.configFile ?? []), ...(values.configDir ?? [])]
  try {
    const flags = flagsOf(values)
    const files = readAgentFiles(paths)
    const settings = agentSettings(files.settings, flags)
    const log = createLog({ level: settings.logLevel, json: settings.logJson, fd: 1 })
    const agent = await EmbeddedAgent.open(settings, { log, version })
    try {
      return await serve(agent, { log, files, reread: () => readAgentFiles(paths), settings, dev: flags.dev })
    } catch (error) {
      log.error({ error: String(error) }, 'the agent can not go on')
      throw error
    } finally {
      await agent.close()
      await log.flush(lastLinesMs)
    }
  } catch (error) {
    if (!(error instanceof SidespliceError)) throw error
    process.stderr.write(`${printableLines(error.message)}\n`)
    return error.source === 'config' ? exitUsage : exitFailure
  }
}

function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n')
}

interface Serving {
  readonly log: ProcessLog
  readonly files: AgentFiles
  readonly reread: () => AgentFiles
  readonly settings: AgentSettings
  readonly dev: boolean
}

async function serve(agent: EmbeddedAgent, { log, files, reread, settings, dev }: Serving): Promise<number> {
  const signals = stopSignals()
  const { authority, node } = agent.world
  await apply(agent, files, log)
  const { http: address, https } = await agent.serve()
  log.info(
    {
      http: formatAddress(address),
      ...(https !== undefined && { https: formatAddress(https) }),
      node: node.name,
      datacenter: node.datacenter,
      trust_domain: authority.trustDomain,
    },
    dev ? 'agent is up, in development mode' : 'agent is up',
  )
  const managed = new ManagedOfAgent({
    world: agent.world,
    settings: settings.managed,
    dataDir: settings.dataDir,
    http: { host: isAny(address.host) ? '127.0.0.1' : address.host, port: address.port },
    program: [process.execPath, process.argv[1] ?? ''],
    ...{ log, logLevel: settings.logLevel },
  })
  const managing = managed.run()
  // One after the other: two reloads at once would each take back what the other registered.
  let reloading: Promise<void> = Promise.resolve()
  process.on('SIGHUP', () => {
    reloading = reloading.then(() => reload(agent, reread, log))
  })
  const signal = await signals.first
  log.info({ signal }, 'stopping')
  await reloading
  await managed.close()
  await managing
  return 0
}

function isAny(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

/** Settings are those of the start; definitions and certificates are what a reload is for. */
async function reload(agent: EmbeddedAgent, reread: () => AgentFiles, log: ProcessLog): Promise<void> {
  const refused = (error: unknown, message: string) =>
    log.error({ error: error instanceof Error ? error.message : String(error) }, message)
  try {
    await apply(agent, reread(), log)
  } catch (error) {
    refused(error, 'reload refused, everything stays as it was')
  }
  try {
    agent.renewCertificates()
  } catch (error) {
    refused(error, 'the certificates of the API stay as they were')
  }
}

async function apply(agent: EmbeddedAgent, files: AgentFiles, log: ProcessLog): Promise<void> {
  for (const key of files.passedOver) log.warn({ key }, 'this setting has no meaning here and is passed over')
  for (const problem of files.problems) log.error({}, `left out: ${formatProblem(problem)}`)
  const { registered, deregistered, refused } = await agent.apply(files.definitions)
  for (const problem of refused) log.error({}, `left out: ${problem}`)
  log.info({ registered: registered.length, deregistered: deregistered.length }, 'definitions applied')
}

function flagsOf(values: AgentCommandValues): AgentFlags {
  const { dataDir, httpPort, unsafeListen, logLevel, logJson } = values
  if (httpPort !== undefined && !/^[1-9][0-9]{0,4}$/.test(httpPort))
    throw new SidespliceError(`--http-port: got ${JSON.stringify(httpPort)}, expected 1 to 65535`, {
      source: 'config',
      code: 'usage',
    })
  return {
    dev: values.dev === true,
    ...(dataDir !== undefined && { dataDir }),
    ...(httpPort !== undefined && { httpPort: Number(httpPort) }),
    ...(unsafeListen !== undefined && { unsafeListen }),
    ...(logLevel !== undefined && { logLevel }),
    ...(logJson !== undefined && { logJson }),
  }
}
