// The supervisor of `sidesplice manage` as a process: its files, log and signals.
import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type AgentFiles, type Definition, readAgentFiles } from '../agent/config-files.ts'
import { ConfigError, formatProblem } from '../config/problem.ts'
import { ConsulClient } from '../consul/client.ts'
import type { Json } from '../consul/shape.ts'
import { SidespliceError } from '../errors.ts'
import { ConsulAgentCalls } from '../managed/consul-agent.ts'
import { ManagedOfConsul } from '../managed/of-consul.ts'
import type { Login } from '../managed/proxy-tokens.ts'
import { clientOptions } from './agent-options.ts'
import { closeUnaskedInspector } from './inspector.ts'
import { createLog, type ProcessLog, printable } from './logger.ts'
import type { ManageValues } from './manage.ts'
import { stopSignals } from './stop-signals.ts'

// Consul's own range for managed proxies.
const [firstPort, lastPort] = [20_000, 20_255]
const lastLinesMs = 1_000

/** Returns the exit code. */
export async function runManage(values: ManageValues): Promise<number> {
  await closeUnaskedInspector()
  try {
    const options = clientOptions(values, process.env)
    const client = new ConsulClient(options)
    const files = readAgentFiles(values.config ?? [])
    requireWork(values, files)
    const level = (values.logLevel ?? 'info') as 'info'
    const log = createLog({ level, json: values.logJson === true, fd: 1 })
    for (const problem of files.problems) log.error({}, `left out: ${formatProblem(problem)}`)
    const managed = new ManagedOfConsul({
      ...{ client, log, logLevel: level, choosePort },
      owner: ownerOf(values.dataDir),
      dataDir: values.dataDir,
      definitions: managedOf(files, log),
      fromMetadata: values.fromMetadata === true,
      makeTokens: values.makeTokens === true,
      tokenFiles: tokenFilesOf(files),
      logins: loginsOf(files),
      as: async (secret, call) => {
        const own = new ConsulClient({ ...options, token: () => secret })
        return call(new ConsulAgentCalls(own)).finally(() => own.close())
      },
      environment: environmentOf(values),
      program: [process.execPath, process.argv[1] ?? ''],
    })
    await serve(managed, values, log)
    await log.flush(lastLinesMs)
    return 0
  } catch (error) {
    if (!(error instanceof SidespliceError)) throw error
    process.stderr.write(`${error.message.split('\n').map(printable).join('\n')}\n`)
    return 1
  }
}

async function serve(managed: ManagedOfConsul, values: ManageValues, log: ProcessLog): Promise<void> {
  const signals = stopSignals()
  const stop = new AbortController()
  process.on('SIGHUP', () => {
    try {
      managed.setDefinitions(managedOf(readAgentFiles(values.config ?? []), log))
      log.info({}, 'definitions read again')
    } catch (error) {
      log.error(
        { error: error instanceof Error ? error.message : String(error) },
        'reload refused, everything stays as it was',
      )
    }
  })
  const running = managed.run(stop.signal)
  log.info({}, 'managing')
  const signal = await Promise.race([signals.first, running.then(() => 'SIGTERM')])
  log.info({ signal }, 'stopping')
  stop.abort()
  await running
}

function requireWork({ fromMetadata }: ManageValues, { definitions }: AgentFiles): void {
  if (process.platform !== 'linux')
    throw new SidespliceError(`got ${process.platform}, expected Linux: processes are found again by /proc`, {
      source: 'cli',
      code: 'usage',
    })
  if (fromMetadata === true || definitions.length > 0) return
  throw new SidespliceError('got neither services by --config nor --from-metadata, expected one of them', {
    source: 'cli',
    code: 'usage',
  })
}

/** Services with `connect { proxy {} }`; what else is there is said. */
function managedOf(files: AgentFiles, log: ProcessLog): readonly Definition[] {
  return files.definitions.filter(({ kind, body, where }) => {
    const asks = kind === 'service' && (body.Connect as Json | undefined)?.Proxy !== undefined
    if (!asks) log.warn({ where }, 'not a service with connect { proxy {} }, passed over')
    return asks
  })
}

/** By the ID of the service. */
function tokenFilesOf({ definitions }: AgentFiles): ReadonlyMap<string, string> {
  return new Map(
    definitions.flatMap(({ body }) => {
      const file = body.TokenFile
      return typeof file === 'string' ? [[String(body.ID ?? body.Name), file] as const] : []
    }),
  )
}

/** By the ID of the service. */
function loginsOf({ definitions }: AgentFiles): ReadonlyMap<string, Login> {
  return new Map(
    definitions.flatMap(({ body, where }) => {
      if (body.Login === undefined) return []
      const { AuthMethod, BearerTokenFile } = body.Login as Readonly<Record<string, string | undefined>>
      if (AuthMethod === undefined || BearerTokenFile === undefined)
        throw new ConfigError([
          { where, key: 'login', got: 'a part of it', expected: 'auth_method and bearer_token_file' },
        ])
      return [
        [String(body.ID ?? body.Name), { authMethod: AuthMethod, bearerTokenFile: BearerTokenFile }],
      ] as const
    }),
  )
}

/** The same for as long as the folder is there: by it proxies are known again. */
function ownerOf(dataDir: string | undefined): string {
  if (dataDir === undefined) return randomUUID()
  const file = join(dataDir, 'manager-id')
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    const owner = randomUUID()
    writeFileSync(file, `${owner}\n`, { flag: 'wx', mode: 0o600 })
    return owner
  }
}

/** Flags of ours as the variables that proxies read. A token is not among them: each has its own. */
function environmentOf(values: ManageValues): Readonly<Record<string, string>> {
  const pairs = [
    ['CONSUL_HTTP_ADDR', values.httpAddr],
    ['CONSUL_CACERT', values.caFile],
    ['CONSUL_CAPATH', values.caPath],
    ['CONSUL_CLIENT_CERT', values.clientCert],
    ['CONSUL_CLIENT_KEY', values.clientKey],
    ['CONSUL_TLS_SERVER_NAME', values.tlsServerName],
  ] as const
  return Object.fromEntries(pairs.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}

async function choosePort(taken: ReadonlySet<number>): Promise<number> {
  const count = lastPort - firstPort + 1
  const from = Math.floor(Math.random() * count)
  for (let at = 0; at < count; at++) {
    const port = firstPort + ((from + at) % count)
    if (!taken.has(port) && (await isFree(port))) return port
  }
  throw new SidespliceError(`got no free port, expected one in ${firstPort} to ${lastPort}`, {
    source: 'cli',
    code: 'no_port',
  })
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
