// Sidecars as an operator has them: a folder with certificates and a file, and the command that runs by it.
import { chmod, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import { type Command, type CommandOptions, patienceMs, run } from './command.ts'
import { type App, connect, type End, echo, openApp } from './ends.ts'
import { freePort } from './free-ports.ts'
import { type IssuedCertificate, mesh, spiffeId } from './pki.ts'
import { until } from './until.ts'

export interface UpstreamSection {
  readonly destination_name: string
  readonly local_bind_address?: string
  readonly local_bind_port?: number
  readonly local_bind_socket_path?: string
  readonly local_bind_socket_mode?: string
  readonly endpoints: readonly string[]
  readonly expect: readonly string[]
  readonly connect_timeout_ms?: number
}

/** The file as a test writes it; what it is to be refused for is written as text. */
export interface SidecarFile {
  readonly service?: string
  readonly identity?: Readonly<Record<string, string>>
  readonly inbound?: {
    readonly listen: string
    readonly local_service_address: string
    readonly allow: readonly string[]
  }
  readonly upstreams?: readonly UpstreamSection[]
  readonly [setting: string]: unknown
}

export const identityFiles = { cert_file: 'leaf.pem', key_file: 'leaf.key', ca_file: 'ca.pem' } as const

/** A folder that is gone after the test. */
export class Folder {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  static async make(t: TestContext): Promise<Folder> {
    const path = await mkdtemp(join(tmpdir(), 'sidesplice-test-'))
    t.after(() => rm(path, { recursive: true, force: true }))
    return new Folder(path)
  }

  file(name: string): string {
    return join(this.path, name)
  }

  write(name: string, text: string, mode = 0o600): Promise<void> {
    return writeFile(this.file(name), text, { mode })
  }

  /** Another file under the same name, as an editor or a certificate agent does it. */
  async replace(name: string, text: string): Promise<void> {
    await this.write(`${name}.new`, text)
    await rename(this.file(`${name}.new`), this.file(name))
  }

  async writeIdentity(leaf: IssuedCertificate, ...roots: readonly IssuedCertificate[]): Promise<void> {
    await this.write('leaf.pem', leaf.chainPem)
    await this.write('leaf.key', leaf.keyPem)
    await this.write('ca.pem', roots.map(root => root.certPem).join(''))
  }

  writeConfig(config: SidecarFile): Promise<void> {
    return this.write('sidecar.json', configText(config))
  }

  async makeReadableByAll(): Promise<void> {
    await chmod(this.path, 0o755)
  }
}

export function configText(config: SidecarFile): string {
  return JSON.stringify({ service: 'web', identity: identityFiles, ...config }, null, 2)
}

export interface SidecarOptions extends CommandOptions {
  readonly leaf?: IssuedCertificate
  readonly roots?: readonly IssuedCertificate[]
  readonly args?: readonly string[]
  readonly folder?: Folder
}

export class RunningSidecar {
  readonly command: Command
  readonly folder: Folder
  readonly config: SidecarFile
  readonly admin: Address

  constructor(facts: { command: Command; folder: Folder; config: SidecarFile; admin: Address }) {
    this.command = facts.command
    this.folder = facts.folder
    this.config = facts.config
    this.admin = facts.admin
  }

  get pid(): number {
    return this.command.pid
  }

  get(path: string, method = 'GET'): Promise<HttpAnswer> {
    return ask(this.admin, path, method)
  }

  async json<T>(path: string): Promise<T> {
    return JSON.parse((await this.get(path)).body) as T
  }

  /** The value of the one sample with these labels; 0 where there is none. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const sample = parseMetrics((await this.get('/metrics')).body).find(
      one => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value),
    )
    return sample?.value ?? 0
  }

  /** Waits until a look over HTTP gives something. */
  async eventually<T>(look: () => Promise<T | undefined | false>, what: string): Promise<T> {
    return eventually(look, what)
  }

  rewrite(change: SidecarFile): Promise<void> {
    return this.folder.writeConfig({ ...this.config, ...change })
  }

  /** Waits for the `count`th configuration since the start to be in use; the first is that of the start. */
  applied(count: number): Promise<string> {
    return this.command.line('configuration applied', count)
  }
}

/** Starts a sidecar with an admin address and waits until it is ready. */
export async function startSidecar(
  t: TestContext,
  config: SidecarFile,
  options: SidecarOptions = {},
): Promise<RunningSidecar> {
  const sidecar = await launchSidecar(t, config, options)
  await sidecar.command.line(
    config.log_json === true || options.args?.includes('--log-json') === true ? '"ready"' : ' ready ',
  )
  return sidecar
}

/** Starts a sidecar without waiting for anything. */
export async function launchSidecar(
  t: TestContext,
  config: SidecarFile,
  { leaf, roots = [mesh.root], args = [], folder: given, ...options }: SidecarOptions = {},
): Promise<RunningSidecar> {
  const folder = given ?? (await Folder.make(t))
  const service = config.service ?? 'web'
  await folder.writeIdentity(leaf ?? (service === 'db' ? mesh.db : mesh.web), ...roots)
  const admin = await freePort()
  const whole = { admin: formatAddress(admin), ...config }
  await folder.writeConfig(whole)
  const side = service === 'db' ? 'dialed' : 'dialing'
  const command = run(t, ['proxy', '--config', folder.file('sidecar.json'), ...args], { side, ...options })
  return new RunningSidecar({ command, folder, config: whole, admin })
}

export interface Pair {
  readonly app: App
  /** Stands beside the app. */
  readonly db: RunningSidecar
  /** Stands beside the client. */
  readonly web: RunningSidecar
  readonly dbPublic: Address
  readonly webUpstream: Address
  connect(): End
}

export interface PairOptions {
  readonly serve?: (end: End) => void
  readonly allow?: readonly string[]
  readonly db?: SidecarFile
  readonly web?: SidecarFile
  readonly dbOptions?: SidecarOptions
  readonly webOptions?: SidecarOptions
}

/** An app that echoes behind two sidecars, as `db`, reached by `web`. */
export async function startPair(t: TestContext, options: PairOptions = {}): Promise<Pair> {
  const { serve = echo, allow = [spiffeId('web')] } = options
  const app = await openApp(t, { serve })
  const dbPublic = await freePort()
  const webUpstream = await freePort()
  const [db, web] = await Promise.all([
    startSidecar(
      t,
      {
        service: 'db',
        inbound: {
          listen: formatAddress(dbPublic),
          local_service_address: formatAddress(app.address),
          allow,
        },
        ...options.db,
      },
      options.dbOptions,
    ),
    startSidecar(
      t,
      { service: 'web', upstreams: [upstreamTo(dbPublic, webUpstream)], ...options.web },
      options.webOptions,
    ),
  ])
  return { app, db, web, dbPublic, webUpstream, connect: () => connect(t, webUpstream) }
}

export function upstreamTo(endpoint: Address, bind: Address, name = 'db'): UpstreamSection {
  return {
    destination_name: name,
    local_bind_port: bind.port,
    endpoints: [formatAddress(endpoint)],
    expect: [spiffeId('db')],
  }
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export function ask(address: Address, path: string, method = 'GET'): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ ...address, path, method, agent: false }, response => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
      response.on('error', reject)
    })
    request.setTimeout(patienceMs, () => request.destroy(new Error(`no answer from ${path}`)))
    request.on('error', reject).end()
  })
}

/** Polls what has to be asked for. */
export async function eventually<T>(
  look: () => Promise<T | undefined | false>,
  what: string,
  limitMs = patienceMs,
): Promise<T> {
  let found: T | undefined | false
  let looking = false
  return until(
    () => {
      if (found === undefined || found === false) {
        if (!looking) {
          looking = true
          look()
            .then(
              value => {
                found = value
              },
              () => {},
            )
            .finally(() => {
              looking = false
            })
        }
      }
      return found
    },
    what,
    limitMs,
  )
}

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const sampleForm = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|[-+]?[0-9.]+(?:e[-+]?[0-9]+)?)$/
const labelForm = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/g

/** The samples of Prometheus' text format. Throws at a line that is not of it. */
export function parseMetrics(text: string): readonly Sample[] {
  return text.split('\n').flatMap(line => {
    if (line === '' || /^# (HELP|TYPE) [a-zA-Z_:][a-zA-Z0-9_:]* \S/.test(line)) return []
    const [, name, labels = '', value] = sampleForm.exec(line) ?? []
    if (name === undefined || value === undefined) throw new Error(`no line of Prometheus' format: ${line}`)
    const found = [...labels.matchAll(labelForm)]
    if (found.map(([whole]) => whole).join('') !== labels)
      throw new Error(`no labels of Prometheus' format: ${line}`)
    return [
      {
        name,
        labels: Object.fromEntries(found.map(([, key, label]) => [key, label])) as Record<string, string>,
        value: Number(value.replace('Inf', 'Infinity')),
      },
    ]
  })
}
