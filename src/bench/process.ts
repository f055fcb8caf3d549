// One proxy of a chain as a process of its own: its output goes to a file, it is ready when it says so or when its port is open.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

export interface ProcessSpec {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Where it listens. */
  readonly listens: string
  /** What its output holds once it is ready; without it an open port is enough. */
  readonly readyText?: string
  readonly log: string
}

const readyLimitMs = 30_000
const lookEveryMs = 3
const stopLimitMs = 5_000

export class ProxyProcess {
  readonly child: ChildProcess
  readonly spec: ProcessSpec
  /** From the start of the process. */
  readonly readyMs: number

  private constructor(child: ChildProcess, spec: ProcessSpec, readyMs: number) {
    this.child = child
    this.spec = spec
    this.readyMs = readyMs
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  /** @throws Error with what it said, where it ends or is not ready in time */
  static async start(spec: ProcessSpec): Promise<ProxyProcess> {
    const log = openSync(spec.log, 'w')
    const begun = performance.now()
    const child = spawn(spec.command, spec.args, {
      stdio: ['ignore', log, log],
      env: { ...process.env, NODE_OPTIONS: '', ...spec.env },
    })
    closeSync(log)
    const failure = new Promise<Error>(resolve => child.once('error', resolve))
    for (;;) {
      if (await isReady(spec)) return new ProxyProcess(child, spec, performance.now() - begun)
      const failed = await Promise.race([failure, wait(lookEveryMs)])
      if (failed !== undefined) throw failed
      if (child.exitCode !== null || performance.now() - begun > readyLimitMs) {
        child.kill('SIGKILL')
        throw new Error(
          `${spec.command} ${spec.args.join(' ')} is not ready:\n${readFileSync(spec.log, 'utf8')}`,
        )
      }
    }
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const ended = new Promise(resolve => this.child.once('exit', resolve))
    const limit = setTimeout(() => this.child.kill('SIGKILL'), stopLimitMs)
    this.child.kill('SIGTERM')
    await ended
    clearTimeout(limit)
  }
}

async function isReady({ readyText, log, listens }: ProcessSpec): Promise<boolean> {
  return readyText === undefined ? isOpen(listens) : readFileSync(log, 'utf8').includes(readyText)
}

/** Whether a connection is taken; it is closed at once. */
export function isOpen(address: string): Promise<boolean> {
  const { hostname, port } = new URL(`tcp://${address}`)
  return new Promise(resolve => {
    const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
