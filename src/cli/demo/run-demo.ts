// The quickstart from start to end: the embedded agent with the two services of examples/quickstart, their proxies managed, and all of it
// gone again.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { type Address, formatAddress } from '../../address.ts'
import { EmbeddedAgent } from '../../agent/agent.ts'
import { readAgentFiles } from '../../agent/config-files.ts'
import { agentSettings } from '../../agent/settings.ts'
import { topicOf } from '../../agent/topics.ts'
import { ManagedOfAgent } from '../../managed/of-agent.ts'
import { packageRoot } from '../../package-root.ts'
import type { Log } from '../../proxy/log.ts'
import { freePort } from './ports.ts'
import { apiService, webService } from './services.ts'

const example = join(packageRoot, 'examples', 'quickstart', 'agent.hcl')

/** Runs until it is told to stop. Returns the exit code. */
export async function runDemo(version: string): Promise<number> {
  const asked = askedToStop()
  const folder = await mkdtemp(join(tmpdir(), 'sidesplice-demo-'))
  const ending: (() => Promise<unknown> | undefined)[] = []
  try {
    return await run({ asked, folder, version, atEnd: end => ending.push(end) })
  } finally {
    for (const end of ending.toReversed()) await end()
    await rm(folder, { recursive: true, force: true })
    print('stopped, nothing is left behind')
  }
}

/** By a signal, or by a reader of its output that has gone: `npm start | head` must not leave proxies behind. */
function askedToStop(): Promise<number> {
  return new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(0))
    process.stdout.on('error', () => resolve(0))
  })
}

interface Running {
  readonly asked: Promise<number>
  readonly folder: string
  readonly version: string
  readonly atEnd: (end: () => Promise<unknown> | undefined) => void
}

interface Places {
  readonly web: Address
  readonly webUpstream: Address
  readonly api: Address
  readonly http: Address
}

async function run({ asked, folder, version, atEnd }: Running): Promise<number> {
  const places: Places = {
    web: await freePort(8080),
    webUpstream: await freePort(9191),
    api: await freePort(8081),
    http: await freePort(8500),
  }
  const services = [await apiService(places.api), await webService(places.web, places.webUpstream)]
  atEnd(() => close(services))
  const files = readAgentFiles([await definitions(folder, places)])
  const settings = agentSettings(files.settings, { dev: true, httpPort: places.http.port })
  const agent = await EmbeddedAgent.open(settings, { log: warnings, version })
  atEnd(() => agent.close())
  await agent.apply(files.definitions)
  await agent.serve()
  const managed = new ManagedOfAgent({
    world: agent.world,
    settings: settings.managed,
    dataDir: undefined,
    http: places.http,
    program: [process.execPath, process.argv[1] ?? ''],
    logLevel: 'info',
    log: warnings,
    onLine: (proxy, line) => print(`${proxy.padEnd(9)} | ${line}`),
  })
  const managing = managed.run()
  atEnd(async () => {
    await managed.close()
    await managing
  })
  await Promise.race([healthy(agent), asked])
  print(welcome(places, [...managed.running()]))
  return asked
}

/** The example's file; where a port of it is taken, with another one. */
async function definitions(folder: string, { web, webUpstream, api }: Places): Promise<string> {
  const ports = new Map([
    ['8080', web.port],
    ['9191', webUpstream.port],
    ['8081', api.port],
  ])
  const text = await readFile(example, 'utf8')
  const file = join(folder, 'agent.hcl')
  await writeFile(
    file,
    text.replace(/(port = )([0-9]+)/g, (whole, key: string, port: string) =>
      ports.has(port) ? `${key}${ports.get(port)}` : whole,
    ),
  )
  return file
}

/** Until every check passes: then the proxies have their certificates, and listen. */
async function healthy({ world: { state } }: EmbeddedAgent): Promise<void> {
  const never = new AbortController().signal
  for (;;) {
    const index = state.indexOf([topicOf.checks])
    if (state.all('check').every(({ Status }) => Status === 'passing')) return
    await state.wait([topicOf.checks], { index, ms: 1_000, signal: never })
  }
}

function welcome(
  { web, webUpstream, api, http }: Places,
  proxies: readonly (readonly [string, number])[],
): string {
  const short = (path: string) => {
    const near = relative(process.cwd(), path)
    return near.startsWith('..') ? path : near
  }
  const program = [process.execPath, process.argv[1] ?? ''].map(short).join(' ')
  const flag = http.port === 8500 ? '' : ` --http-addr ${formatAddress(http)}`
  const [, pid = ''] = proxies[0] ?? []
  const lines = [
    '',
    `  curl http://${formatAddress(web)}/`,
    '',
    `  web    ${formatAddress(web)}    the sample service that you ask; it asks ${formatAddress(webUpstream)}, its proxy`,
    `  api    ${formatAddress(api)}    the sample service that web reaches, through both proxies, over mutual TLS`,
    `  agent  ${formatAddress(http)}    catalog, CA and intentions, with Consul's HTTP API`,
    ...(process.geteuid?.() === 0
      ? ['', '  You are root: the example sets connect.proxy.allow_managed_root for that.']
      : []),
    '',
    '  Then try, in another terminal:',
    '',
    `  ${program} proxies${flag}`,
    `  ${program} intention deny web api${flag}     # the next curl fails, live sessions end`,
    `  ${program} intention allow web api${flag}`,
    `  ${program} ca rotate${flag}                  # no connection fails`,
    `  kill -9 ${pid}${' '.repeat(Math.max(1, 40 - String(pid).length))}# a proxy; it comes back`,
    '',
    '  What runs here is examples/quickstart/agent.hcl. Ctrl-C stops all of it.',
    '',
  ]
  return lines.join('\n')
}

const warnings: Log = {
  debug: () => {},
  info: () => {},
  warn: say,
  error: say,
}

function say(fields: object, message: string): void {
  print(`agent     | ${message} ${JSON.stringify(fields)}`)
}

async function close(servers: readonly Server[]): Promise<void> {
  for (const server of servers) {
    server.close()
    server.closeAllConnections()
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
