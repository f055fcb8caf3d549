// An agent of a test's own: started in development mode on ports of its own, gone after the test. A real Consul's, or where the suite
// says so the embedded one: what a sidecar sees of both is the same, so scenarios run on either.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { bin, build, Command, patienceMs } from './command.ts'
import { consulBinary } from './consul-binary.ts'
import { freePort } from './free-ports.ts'
import { firstBodyLine, noteSecret } from './secrets.ts'
import { until } from './until.ts'

/** Set by the suite `agent`. */
export const embedded = process.env.SIDESPLICE_TEST_AGENT === 'embedded'

export interface ConsulAgentOptions {
  /** Configuration beside that of development mode. */
  readonly config?: object
  readonly token?: string
  readonly httpPort?: number
  /** A server as in production, that finds its mesh in this folder again; without one, development mode, all in memory. */
  readonly dataDir?: string
  /** Consul itself, also where the suite runs on the embedded agent. */
  readonly real?: boolean
}

export class ConsulAgent {
  readonly httpPort: number
  readonly #t: TestContext
  readonly #options: ConsulAgentOptions
  #command: Command

  constructor(t: TestContext, httpPort: number, options: ConsulAgentOptions, command: Command) {
    this.#t = t
    this.httpPort = httpPort
    this.#options = options
    this.#command = command
  }

  get address(): string {
    return `127.0.0.1:${this.httpPort}`
  }

  get log(): string {
    return this.#command.stdout
  }

  signal(name: NodeJS.Signals): void {
    this.#command.signal(name)
  }

  /** Ends the agent; what it had in memory goes with it. */
  async kill(): Promise<void> {
    this.#command.signal('SIGKILL')
    await this.#command.end()
  }

  /** Another agent on the same port: in development mode that is another cluster. */
  async startAgain(): Promise<void> {
    this.#command = await spawnAgent(this.#t, this.httpPort, this.#options)
    await this.ready()
  }

  async ready(): Promise<void> {
    for (const deadlineAt = performance.now() + patienceMs; ; ) {
      const answer = await this.send('GET', '/v1/agent/connect/ca/roots').catch(() => undefined)
      if (answer?.status === 200) return
      if (performance.now() > deadlineAt) throw new Error(`the agent is not ready:\n${this.#command.stdout}`)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }

  async send(
    method: string,
    path: string,
    body?: unknown,
    token = this.#options.token,
  ): Promise<{ readonly status: number; readonly body: string }> {
    const response = await fetch(`http://${this.address}${path}`, {
      method,
      ...(token !== undefined && { headers: { 'x-consul-token': token } }),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    noteSecrets(text)
    return { status: response.status, body: text }
  }

  /** @throws where the agent refuses */
  async call<T = unknown>(method: string, path: string, body?: unknown, token?: string): Promise<T> {
    const answer = await this.send(method, path, body, token)
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`)
    return (answer.body.trim() === '' ? undefined : JSON.parse(answer.body)) as T
  }

  register(service: object): Promise<unknown> {
    return this.call('PUT', '/v1/agent/service/register', service)
  }

  async intention(source: string, destination: string, action: 'allow' | 'deny'): Promise<string> {
    const made = await this.call<{ ID: string }>('POST', '/v1/connect/intentions', {
      SourceName: source,
      DestinationName: destination,
      Action: action,
    })
    return made.ID
  }

  /** The requests that it has answered, as its log has them: method and URL. */
  answered(): readonly string[] {
    return [...this.log.matchAll(/ Request finished:? method=(\S+) url=(\S+)/g)].map(
      ([, method, url]) => `${method} ${url}`,
    )
  }
}

/** Tokens and keys that the agent gives away. */
function noteSecrets(answer: string): void {
  for (const [, token = ''] of answer.matchAll(/"SecretID": ?"([^"]+)"/g)) noteSecret(token)
  for (const [, pem = ''] of answer.matchAll(/"PrivateKey(?:PEM)?": ?"([^"]+)"/g))
    noteSecret(firstBodyLine(pem.replaceAll('\\n', '\n')))
}

export async function startConsul(t: TestContext, options: ConsulAgentOptions = {}): Promise<ConsulAgent> {
  const httpPort = options.httpPort ?? (await freePort()).port
  const agent = new ConsulAgent(t, httpPort, options, await spawnAgent(t, httpPort, options))
  await agent.ready()
  return agent
}

export async function spawnAgent(
  t: TestContext,
  httpPort: number,
  { config, dataDir, real = !embedded }: ConsulAgentOptions,
): Promise<Command> {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-consul-'))
  const file = join(folder, 'agent.json')
  writeFileSync(file, JSON.stringify({ disable_update_check: true, ...config }))
  const child = !real
    ? spawnEmbedded(file, httpPort, dataDir)
    : spawn(
        consulBinary,
        [...(await consulArgs(dataDir)), `-http-port=${httpPort}`, `-config-file=${file}`],
        { stdio: ['ignore', 'pipe', 'pipe'] },
      )
  // Consul's words are its own.
  const command = new Command(child, !real)
  t.after(async () => {
    if (command.ended === undefined) {
      child.kill('SIGKILL')
      await until(() => command.ended !== undefined, 'the agent to end')
    }
    rmSync(folder, { recursive: true, force: true })
  })
  return command
}

function spawnEmbedded(file: string, httpPort: number, dataDir: string | undefined) {
  build()
  const state = dataDir === undefined ? ['--dev'] : ['--data-dir', dataDir]
  return spawn(
    process.execPath,
    [bin, 'agent', ...state, '--config', file, '--http-port', String(httpPort), '--log-level', 'debug'],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
}

async function consulArgs(dataDir: string | undefined): Promise<readonly string[]> {
  const [lan, wan, server] = [await freePort(), await freePort(), await freePort()]
  return [
    'agent',
    ...(dataDir === undefined ? ['-dev'] : ['-server', '-bootstrap-expect=1', `-data-dir=${dataDir}`]),
    ...[
      '-bind=127.0.0.1',
      '-client=127.0.0.1',
      '-node=n1',
      '-log-level=debug',
      '-grpc-port=-1',
      '-dns-port=-1',
    ],
    ...[`-serf-lan-port=${lan.port}`, `-serf-wan-port=${wan.port}`, `-server-port=${server.port}`],
  ]
}
