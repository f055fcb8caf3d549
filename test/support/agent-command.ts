// `sidesplice agent` as a process of a test's own, with a folder of its own for files and state.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Command, type CommandOptions, run } from './command.ts'
import { freePort } from './free-ports.ts'
import { noteSecret } from './secrets.ts'

export interface AgentAnswer {
  readonly status: number
  readonly text: string
  readonly index: number
}

export class RunningAgent {
  readonly folder: string
  readonly port: number
  command: Command
  readonly #start: () => Command

  constructor(folder: string, port: number, start: () => Command) {
    this.folder = folder
    this.port = port
    this.#start = start
    this.command = start()
  }

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  async ready(): Promise<this> {
    await this.command.line('agent is up')
    return this
  }

  /** Ends it as a power loss would, as far as a process can know. */
  async kill(): Promise<void> {
    this.command.signal('SIGKILL')
    await this.command.end()
  }

  startAgain(): Promise<this> {
    this.command = this.#start()
    return this.ready()
  }

  async send(method: string, path: string, body?: unknown, token?: string): Promise<AgentAnswer> {
    const response = await fetch(`http://${this.address}${path}`, {
      method,
      ...(token !== undefined && { headers: { 'x-consul-token': token } }),
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    for (const [, secret = ''] of text.matchAll(/"SecretID": ?"([^"<]+)"/g)) noteSecret(secret)
    return { status: response.status, text, index: Number(response.headers.get('x-consul-index')) }
  }

  /** @throws where the agent refuses */
  async call<T = unknown>(method: string, path: string, body?: unknown, token?: string): Promise<T> {
    const { status, text } = await this.send(method, path, body, token)
    if (status !== 200) throw new Error(`${method} ${path}: ${status} ${text}`)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  write(name: string, content: string | object): string {
    const file = join(this.folder, name)
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    return file
  }
}

export interface AgentCommandOptions extends CommandOptions {
  /** Files to be there before it starts, by name. */
  readonly files?: Readonly<Record<string, string | object>>
  /** Flags, given the folder. */
  readonly args?: (folder: string) => readonly string[]
}

/** Starts it on its own folder; `ready()` waits until it is up. */
export async function launchAgent(t: TestContext, options: AgentCommandOptions = {}): Promise<RunningAgent> {
  const { files = {}, args = () => ['--dev'], ...rest } = options
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-agent-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'conf'))
  for (const [name, content] of Object.entries(files))
    writeFileSync(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
  const { port } = await freePort()
  return new RunningAgent(folder, port, () =>
    run(t, ['agent', '--http-port', String(port), ...args(folder)], { cwd: folder, ...rest }),
  )
}

export async function startAgent(t: TestContext, options: AgentCommandOptions = {}): Promise<RunningAgent> {
  return (await launchAgent(t, options)).ready()
}

export const durable = (folder: string): readonly string[] => ['--data-dir', join(folder, 'state')]
