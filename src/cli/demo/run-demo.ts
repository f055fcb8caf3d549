// The demonstration from start to end: folder, certificates, services, sidecars, and all of it gone again.
import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { formatAddress } from '../../address.ts'
import { type IssuedCertificate, issueCertificate } from '../../identity/issue.ts'
import { freePort } from './ports.ts'
import { apiService, webService } from './services.ts'

const trustDomain = 'demo.consul'
// A sidecar with nothing to drain is gone at once; this one hangs.
const stopLimitMs = 5_000

/** Runs until it is told to stop, or until a sidecar ends by itself. Returns the exit code. */
export async function runDemo(): Promise<number> {
  const asked = askedToStop()
  const folder = await mkdtemp(join(tmpdir(), 'sidesplice-demo-'))
  const servers: Server[] = []
  const sidecars: ChildProcess[] = []
  try {
    return await run(asked, { folder, servers, sidecars })
  } finally {
    await Promise.all(sidecars.map(stop))
    for (const server of servers) {
      server.close()
      server.closeAllConnections()
    }
    await rm(folder, { recursive: true, force: true })
    print('stopped, nothing is left behind')
  }
}

/** By a signal, or by a reader of its output that has gone: `npm start | head` must not leave sidecars behind. */
function askedToStop(): Promise<number> {
  return new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => resolve(0))
    process.stdout.on('error', () => resolve(0))
  })
}

/** What there is to take away again. */
interface Remains {
  readonly folder: string
  readonly servers: Server[]
  readonly sidecars: ChildProcess[]
}

async function run(asked: Promise<number>, { folder, servers, sidecars }: Remains): Promise<number> {
  const web = await freePort(8080)
  const webUpstream = await freePort(9191)
  const api = await freePort(8081)
  const apiPublic = await freePort(20001)
  servers.push(await apiService(api), await webService(web, webUpstream))

  const root = await issueCertificate({
    commonName: 'sidesplice demo CA',
    ca: true,
    uris: [`spiffe://${trustDomain}`],
  })
  await writeFile(join(folder, 'ca.pem'), root.certPem)
  const apiConfig = await writeConfig(folder, root, 'api', {
    inbound: {
      listen: formatAddress(apiPublic),
      local_service_address: formatAddress(api),
      allow: [idOf('web')],
    },
  })
  const webConfig = await writeConfig(folder, root, 'web', {
    upstreams: [
      {
        destination_name: 'api',
        local_bind_port: webUpstream.port,
        endpoints: [formatAddress(apiPublic)],
        expect: [idOf('api')],
      },
    ],
  })
  const ended = [apiConfig, webConfig].map(({ name, file }) => start(name, file, sidecars))
  await Promise.race([
    Promise.all(ended.map(({ ready }) => ready)),
    asked,
    ...ended.map(({ exited }) => exited),
  ])

  print(`
  curl http://${formatAddress(web)}/

  web            ${formatAddress(web)}   the sample service that you ask
  web's sidecar  ${formatAddress(webUpstream)}   plaintext from web, mutual TLS to api's sidecar
  api's sidecar  ${formatAddress(apiPublic)}  mutual TLS from web's sidecar alone
  api            ${formatAddress(api)}   the sample service that web asks

  Each request makes a connection, each connection an access log line of both sidecars. Ctrl-C stops all of it.
`)
  return Promise.race([asked, ...ended.map(({ exited }) => exited)])
}

function start(
  name: string,
  file: string,
  sidecars: ChildProcess[],
): { readonly ready: Promise<void>; readonly exited: Promise<number> } {
  const bin = process.argv[1] ?? ''
  const child = spawn(process.execPath, [bin, 'proxy', '--config', file, '--drain', '1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  sidecars.push(child)
  const lines = createInterface({ input: child.stdout })
  const ready = new Promise<void>(resolve => {
    lines.on('line', line => {
      print(`${name.padEnd(3)} | ${line}`)
      if (line.includes(' ready ')) resolve()
    })
  })
  const exited = new Promise<number>(resolve => {
    child.once('exit', code => resolve(code ?? 2))
  })
  return { ready, exited }
}

/** Ctrl-C in a terminal has reached the sidecars too: one that is stopping already is only waited for. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise(resolve => child.once('exit', resolve))
  const limit = setTimeout(() => child.kill('SIGKILL'), stopLimitMs)
  child.kill('SIGTERM')
  await exited
  clearTimeout(limit)
}

async function writeConfig(
  folder: string,
  root: IssuedCertificate,
  name: string,
  rest: object,
): Promise<{ name: string; file: string }> {
  const leaf = await issueCertificate({ commonName: name, issuer: root, uris: [idOf(name)] })
  const file = join(folder, `${name}.json`)
  const key = join(folder, `${name}.key`)
  await writeFile(join(folder, `${name}.pem`), leaf.chainPem)
  await writeFile(key, leaf.keyPem, { mode: 0o600 })
  await chmod(key, 0o600)
  const identity = { cert_file: `${name}.pem`, key_file: `${name}.key`, ca_file: 'ca.pem' }
  await writeFile(file, `${JSON.stringify({ service: name, identity, ...rest }, null, 2)}\n`)
  return { name, file }
}

function idOf(service: string): string {
  return `spiffe://${trustDomain}/ns/default/dc/dc1/svc/${service}`
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
