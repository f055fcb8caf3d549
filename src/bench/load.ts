// The load generator: where the addon's build left it, running it, and what it says. A run with an error is no result.
import { type ChildProcess, spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { createRequire } from 'node:module'
import { createInterface, type Interface } from 'node:readline'
import { packageRoot } from '../package-root.ts'

/** Microseconds. */
export interface Durations {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
  /** Share of all, and the value that so many are not above. */
  readonly curve: readonly (readonly [number, number])[]
}

export interface BulkResult {
  readonly seconds: number
  readonly bytesUp: number
  readonly bytesDown: number
  readonly gbits: number
}

export interface TripsResult {
  readonly trips: number
  readonly microseconds: Durations
}

export interface ConnectResult {
  readonly connections: number
  /** Of those that were answered within the time. */
  readonly connectionsASecond: number
  readonly microseconds: Durations
}

/** A run in which something failed: which run, and what of it. */
export class LoadError extends Error {
  override readonly name = 'LoadError'
}

export type LoadOptions = Readonly<Record<string, string | number>>

/** @throws Error where neither npm's install nor a prebuild brought it */
export function loadProgram(folder = packageRoot): string {
  const require = createRequire(import.meta.url)
  const addon = (require('node-gyp-build') as { resolve(folder: string): string }).resolve(folder)
  const program = addon.replace(/sidesplice(\.\w+)?\.node$/, 'sidesplice-load$1')
  accessSync(program, constants.X_OK)
  return program
}

/** Runs a mode to its end. */
export async function runLoad<Result>(mode: string, options: LoadOptions): Promise<Result> {
  const child = spawnLoad(mode, options, 'ignore')
  let said = ''
  child.stdout?.on('data', chunk => {
    said += chunk
  })
  const code = await new Promise(resolve => child.once('close', resolve))
  const result = lastLine(said)
  const errors = Object.entries((result?.errors ?? {}) as Record<string, number>)
  if (code === 0 && result !== undefined && errors.length === 0) return result as Result
  const what = errors.map(([error, count]) => `${count} x ${error}`).join(', ')
  throw new LoadError(`load ${mode}: ${what || `it ended with ${code} and said ${JSON.stringify(said)}`}`)
}

/** A mode that serves until it is killed: `app` or `relay`. */
export class LoadServer {
  readonly child: ChildProcess
  readonly address: string

  private constructor(child: ChildProcess, address: string) {
    this.child = child
    this.address = address
  }

  static async start(mode: 'app' | 'relay', options: LoadOptions): Promise<LoadServer> {
    const child = spawnLoad(mode, options, 'ignore')
    const line = await firstLine(child)
    const { listening } = JSON.parse(line ?? '{}') as { listening?: string }
    if (listening === undefined) throw new LoadError(`load ${mode} does not listen`)
    return new LoadServer(child, listening)
  }

  stop(): void {
    this.child.kill('SIGKILL')
  }
}

/** Connections that are held, more with each step. */
export class HeldConnections {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(to: string, steps: readonly number[]) {
    this.#child = spawnLoad('idle', { to, steps: steps.join(',') }, 'pipe')
    this.#lines = readLines(this.#child)[Symbol.asyncIterator]()
  }

  /** Resolves once the next step stands. */
  async step(): Promise<number> {
    const { value } = await this.#lines.next()
    const { held } = JSON.parse(value ?? '{}') as { held?: number }
    if (held === undefined) throw new LoadError('load idle ended')
    return held
  }

  /** Lets it open the next step's. */
  goOn(): void {
    this.#child.stdin?.write('\n')
  }

  /** Asks each once more, and closes them. @throws LoadError where one was lost */
  async end(): Promise<void> {
    this.#child.stdin?.end()
    const { value } = await this.#lines.next()
    const { errors } = JSON.parse(value ?? '{}') as { errors?: object }
    if (errors === undefined || Object.keys(errors).length > 0)
      throw new LoadError(`load idle: ${JSON.stringify(errors)}`)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

function spawnLoad(mode: string, options: LoadOptions, stdin: 'pipe' | 'ignore'): ChildProcess {
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  return spawn(loadProgram(), [mode, ...args], { stdio: [stdin, 'pipe', 'inherit'] })
}

function readLines(child: ChildProcess): Interface {
  if (child.stdout === null) throw new Error('its output is not piped')
  return createInterface({ input: child.stdout })
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  for await (const line of readLines(child)) return line
  return undefined
}

function lastLine(said: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(said.trim().split('\n').at(-1) ?? '') as Record<string, unknown>
  } catch {
    return undefined
  }
}
