// One managed proxy: started, watched, started again, stopped with everything that it has started. Or taken over from who watched before.
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { errorCode, SidespliceError } from '../errors.ts'
import type { Log } from '../proxy/log.ts'
import type { LogFiles } from './log-file.ts'
import {
  endWithStdinVariable,
  type FoundProcess,
  findProcesses,
  formatMark,
  lives,
  type Mark,
  markVariable,
  signal,
  startOf,
} from './processes.ts'
import { Restarts } from './restarts.ts'

/** A proxy that is to run. */
export interface ManagedProxy {
  readonly id: string
  readonly command: readonly string[]
  /** Beside the supervisor's own. */
  readonly environment: Readonly<Record<string, string>>
  /** Of whatever makes a new start necessary. */
  readonly fingerprint: string
  /** How long it may take to stop. */
  readonly stopMs: number
}

export interface GivenToken {
  readonly accessor: string
  readonly secret: string
}

export interface Surroundings {
  readonly owner: string
  readonly log: Log
  /** Undefined where proxies end with us: they write where we write, and see our pipe close. */
  readonly logFiles: LogFiles | undefined
  /** Takes what they write, where there is no file; otherwise they write where we do. */
  readonly onLine?: (proxy: string, line: string) => void
  readonly makeToken: (proxy: string) => Promise<GivenToken | undefined>
  readonly now?: () => number
}

// How often a process that is not our child is looked at, as Consul does.
const watchMs = 1_000
// Variables of ours that would give a proxy more than its own token.
const withheld = [
  'CONSUL_HTTP_TOKEN',
  'CONSUL_HTTP_TOKEN_FILE',
  'CONSUL_HTTP_AUTH',
  'CONNECT_PROXY_TOKEN',
  'CONSUL_PROXY_TOKEN',
]

export class ManagedProcess {
  readonly proxy: ManagedProxy
  readonly #around: Surroundings
  readonly #stop = new AbortController()
  readonly #restarts = new Restarts()
  #running: FoundProcess | undefined
  #done: Promise<void> = Promise.resolve()

  constructor(proxy: ManagedProxy, around: Surroundings) {
    this.proxy = proxy
    this.#around = around
  }

  get pid(): number | undefined {
    return this.#running?.pid
  }

  /** @param adopted one that runs already, by the same definition */
  start(adopted?: FoundProcess): void {
    this.#done = this.#run(adopted)
  }

  /** Resolves when it and all that it has started are gone. */
  async stop(): Promise<void> {
    this.#stop.abort()
    const running = this.#running
    if (running !== undefined) await stopProcess(running, this.proxy.stopMs)
    await this.#done
  }

  /** Goes on without us. */
  leave(): void {
    this.#running = undefined
    this.#stop.abort()
  }

  async #run(adopted: FoundProcess | undefined): Promise<void> {
    const { log } = this.#around
    const { signal: stopping } = this.#stop
    const now = this.#around.now ?? performance.now.bind(performance)
    let found = adopted
    while (!stopping.aborted) {
      if (found === undefined) {
        const waitMs = this.#restarts.next()
        if (waitMs > 0)
          log.warn(
            { proxy: this.proxy.id, wait_s: waitMs / 1000 },
            'waiting before the proxy is started again',
          )
        await pause(waitMs, stopping)
        if (stopping.aborted) return
      }
      const startedAt = now()
      try {
        await (found === undefined ? this.#startOnce() : this.#watch(found))
      } catch (error) {
        log.error({ proxy: this.proxy.id, error: wordsOf(error) }, 'the proxy can not be started')
      }
      this.#restarts.ran(now() - startedAt)
      found = undefined
    }
  }

  async #startOnce(): Promise<void> {
    const { owner, log, logFiles, makeToken, onLine } = this.#around
    const { id, fingerprint } = this.proxy
    const token = await makeToken(id)
    const mark: Mark = { owner, proxy: id, fingerprint, accessor: token?.accessor ?? '' }
    if (this.#stop.signal.aborted) return
    const child =
      logFiles === undefined
        ? this.#spawn(onLine === undefined ? 'inherit' : 'pipe', mark, token)
        : logFiles.use(id, fd => this.#spawn(fd, mark, token))
    const ended = endOf(child)
    const { pid } = child
    if (pid !== undefined) {
      const found = { pid, startedAt: startOf(pid) ?? '', group: pid, leads: true, mark }
      this.#running = found
      log.info({ proxy: id, pid }, 'proxy started')
      const how = await ended
      this.#running = undefined
      // It may have left children behind.
      endGroup(found)
      if (!this.#stop.signal.aborted) log.warn({ proxy: id, pid, ...how }, 'proxy ended')
      return
    }
    throw (await ended).error ?? new Error('not started')
  }

  #spawn(output: number | 'inherit' | 'pipe', mark: Mark, token: GivenToken | undefined): ChildProcess {
    const [program = '', ...args] = this.proxy.command
    const { onLine } = this.#around
    const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !withheld.includes(name)))
    const secret = token?.secret
    const child = spawn(program, args, {
      // A session of its own: what ends our terminal or our group does not end it.
      detached: true,
      stdio: [typeof output === 'number' ? 'ignore' : 'pipe', output, output],
      env: {
        ...own,
        ...this.proxy.environment,
        CONNECT_PROXY_ID: this.proxy.id,
        CONSUL_PROXY_ID: this.proxy.id,
        ...(secret !== undefined && {
          ...{ CONNECT_PROXY_TOKEN: secret, CONSUL_PROXY_TOKEN: secret, CONSUL_HTTP_TOKEN: secret },
        }),
        ...(typeof output === 'string' && { [endWithStdinVariable]: '1' }),
        [markVariable]: formatMark(mark),
      },
    })
    for (const input of [child.stdout, child.stderr])
      if (input !== null) createInterface({ input }).on('line', line => onLine?.(this.proxy.id, line))
    return child
  }

  async #watch(found: FoundProcess): Promise<void> {
    const { log } = this.#around
    this.#running = found
    log.info({ proxy: this.proxy.id, pid: found.pid }, 'proxy taken over, as it runs')
    while (lives(found) && !this.#stop.signal.aborted) await pause(watchMs, this.#stop.signal)
    this.#running = undefined
    if (this.#stop.signal.aborted) return
    endGroup(found)
    log.warn({ proxy: this.proxy.id, pid: found.pid }, 'proxy ended')
  }
}

/** SIGINT, by which it drains; after its time SIGKILL, to all of its group. */
export async function stopProcess(found: FoundProcess, stopMs: number): Promise<void> {
  signal(found, 'SIGINT')
  const deadlineAt = performance.now() + stopMs
  while (lives(found) && performance.now() < deadlineAt) await new Promise(resolve => setTimeout(resolve, 20))
  if (lives(found)) {
    try {
      process.kill(-found.group, 'SIGKILL')
    } catch {
      // It ended meanwhile.
    }
  }
  endGroup(found)
  while (lives(found)) await new Promise(resolve => setTimeout(resolve, 20))
}

/** What a process has left behind: found by its mark, so that a group's number that is another's by now is left alone. */
function endGroup({ group, mark }: FoundProcess): void {
  for (const found of findProcesses(mark.owner))
    if (found.group === group && found.mark.proxy === mark.proxy) signal(found, 'SIGKILL')
}

/** What an agent that refuses a token says is worth more than that it did. */
function wordsOf(error: unknown): string {
  return error instanceof SidespliceError ? error.message : errorCode(error)
}

interface End {
  readonly code?: number
  readonly signal?: NodeJS.Signals
  readonly error?: Error
}

function endOf(child: ChildProcess): Promise<End> {
  return new Promise(resolve => {
    child.once('error', error => resolve({ error }))
    child.once('exit', (code, name) =>
      resolve({ ...(code !== null && { code }), ...(name !== null && { signal: name }) }),
    )
    // Its end of the pipe may go first.
    child.stdin?.on('error', () => {})
  })
}

function pause(ms: number, stopping: AbortSignal): Promise<void> {
  if (ms === 0 || stopping.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      stopping.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    stopping.addEventListener('abort', done)
  })
}
