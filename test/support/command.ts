// The real command as a child process: built once, run in a folder of its own, its output kept and its end waited for.
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { appendFileSync, closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { askedFor, type Side } from './sidecar-planes.ts'
import { until } from './until.ts'

export const packageRoot = fileURLToPath(new URL('../..', import.meta.url))
export const bin = join(packageRoot, 'bin', 'sidesplice.cjs')

// Generous: a machine with two cores starts several of these at a time.
export const patienceMs = 20_000
const buildLimitMs = 120_000

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export type CommandOptions = Pick<SpawnOptions, 'cwd' | 'uid' | 'gid' | 'stdio' | 'detached'> & {
  readonly env?: NodeJS.ProcessEnv
  /** Another Node than the one that runs the tests. */
  readonly node?: string
  readonly nodeArgs?: readonly string[]
  readonly bin?: string
  /** Whose data plane is asked for, where a run is for one; that of who dials where it is not said. */
  readonly side?: Side
}

export class Command {
  readonly child: ChildProcess
  stdout = ''
  stderr = ''
  ended: Ended | undefined

  /** @param kept whether what it says is searched for secrets when all suites are over */
  constructor(child: ChildProcess, kept = true) {
    this.child = child
    child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk
      if (kept) keep(this.pid, chunk)
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk
      if (kept) keep(this.pid, chunk)
    })
    // Not `exit`: its last lines may come later.
    child.once('close', (code, signal) => {
      this.ended = { code, signal }
    })
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get lines(): readonly string[] {
    return this.stdout.split('\n').filter(line => line !== '')
  }

  linesWith(text: string): readonly string[] {
    return this.lines.filter(line => line.includes(text))
  }

  /** Waits for the line of standard output that holds this text, the `count`th of them. */
  async line(text: string, count = 1): Promise<string> {
    await until(
      () => this.linesWith(text).length >= count || this.ended !== undefined,
      `${text} in\n${this.stdout}`,
      patienceMs,
    ).catch((cause: Error) => {
      throw new Error(`no ${JSON.stringify(text)} in\n${this.stdout}\n${this.stderr}`, { cause })
    })
    const found = this.linesWith(text)[count - 1]
    if (found === undefined)
      throw new Error(`it ended without ${JSON.stringify(text)}:\n${this.stdout}\n${this.stderr}`)
    return found
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name)
  }

  /** Waits for the end by itself, or by a signal sent before. */
  end(limitMs = patienceMs): Promise<Ended> {
    return until(() => this.ended, `the command to end, which said\n${this.stdout}\n${this.stderr}`, limitMs)
  }

  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.signal(signal)
    return this.end()
  }
}

/** Starts the command; whatever the test does, it is gone afterwards. */
export function run(t: TestContext, args: readonly string[], options: CommandOptions = {}): Command {
  const {
    env,
    node = process.execPath,
    nodeArgs = [],
    bin: script = bin,
    side = 'dialing',
    ...rest
  } = options
  build()
  const child = spawn(node, [...nodeArgs, script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, SIDESPLICE_DATA_PLANE: askedFor(side), NODE_OPTIONS: '', ...env },
    ...rest,
  })
  const command = new Command(child)
  t.after(async () => {
    if (command.ended !== undefined) return
    child.kill('SIGKILL')
    // Pipes that a test has taken over, or that nobody reads, need not close.
    child.stdout?.destroy()
    child.stderr?.destroy()
    await command.end()
  })
  return command
}

let built = false

/** dist/ as the sources have it. Test files run side by side: one builds, the others wait for it. */
export function build(): void {
  if (built) return
  const lock = join(packageRoot, 'node_modules', '.sidesplice-build.lock')
  const deadlineAt = performance.now() + buildLimitMs
  while (!take(lock)) {
    if (performance.now() > deadlineAt) throw new Error(`waited ${buildLimitMs} ms for ${lock}`)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
  }
  try {
    execFileSync(process.execPath, [join(packageRoot, 'scripts', 'build.mjs'), '--if-stale'], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    built = true
  } finally {
    rmSync(lock, { force: true })
  }
}

function take(lock: string): boolean {
  try {
    const fd = openSync(lock, 'wx')
    writeSync(fd, String(process.pid))
    closeSync(fd)
    return true
  } catch {
    if (holderIsGone(lock)) rmSync(lock, { force: true })
    return false
  }
}

function holderIsGone(lock: string): boolean {
  try {
    const pid = Number(readFileSync(lock, 'utf8'))
    if (pid > 0) process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}

/** The runner searches all output of all suites for keys and certificates. */
function keep(pid: number, chunk: Buffer): void {
  const folder = process.env.SIDESPLICE_TEST_OUTPUT
  if (folder === undefined || folder === '') return
  appendFileSync(join(folder, `command-${process.pid}-${pid}.out`), chunk)
}
