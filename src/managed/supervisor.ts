// All managed proxies of one supervisor: what is wanted is made so, what was left running is taken over, what nobody wants is stopped.
import type { Log } from '../proxy/log.ts'
import { LogFiles } from './log-file.ts'
import {
  type GivenToken,
  ManagedProcess,
  type ManagedProxy,
  type Surroundings,
  stopProcess,
} from './managed-process.ts'
import { type FoundProcess, findProcesses } from './processes.ts'

export interface SupervisorOptions {
  /** Names what it has started, over its own restarts. */
  readonly owner: string
  /** Without one proxies end with the supervisor. */
  readonly dataDir: string | undefined
  readonly log: Log
  readonly onLine?: (proxy: string, line: string) => void
  readonly makeToken: (proxy: string) => Promise<GivenToken | undefined>
  /** Whether the token of a proxy that runs is still good. */
  readonly knowsToken: (accessor: string) => boolean
  /** Its tokens go with it. */
  readonly dropTokens: (proxy: string) => void
}

const rotateMs = 5_000
// For one that nobody wants any more, whose own time to stop is not known.
const strangersStopMs = 5_000

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #around: Surroundings
  readonly #processes = new Map<string, ManagedProcess>()
  readonly #logFiles: LogFiles | undefined
  /** By the ID of what is being stopped: the same proxy is started again only after that. */
  readonly #ending = new Map<string, Promise<void>>()
  #rotate: NodeJS.Timeout | undefined
  #left: readonly FoundProcess[] | undefined

  constructor(options: SupervisorOptions) {
    const { owner, dataDir, log, makeToken, onLine } = options
    this.#options = options
    this.#logFiles = dataDir === undefined ? undefined : new LogFiles(dataDir)
    this.#around = {
      owner,
      log,
      logFiles: this.#logFiles,
      makeToken,
      ...(onLine !== undefined && { onLine }),
    }
    this.#rotate = setInterval(() => this.#rotateLogs(), rotateMs)
  }

  /** IDs and pids of those that run now. */
  running(): ReadonlyMap<string, number> {
    const pairs = [...this.#processes].flatMap(([id, { pid }]) =>
      pid === undefined ? [] : [[id, pid] as const],
    )
    return new Map(pairs)
  }

  /** Proxies with log files go on, others end. */
  async close(): Promise<void> {
    clearInterval(this.#rotate)
    await Promise.all(this.#ending.values())
    if (this.#logFiles !== undefined) for (const process_ of this.#processes.values()) process_.leave()
    else await Promise.all([...this.#processes.values()].map(process_ => process_.stop()))
  }

  /** Returns at once; what has to stop first is waited for by itself. */
  set(wanted: readonly ManagedProxy[]): void {
    // At the first call alone: later every one of them is known.
    this.#left ??=
      this.#logFiles === undefined ? [] : findProcesses(this.#options.owner).filter(({ leads }) => leads)
    const left = this.#left
    this.#left = []
    const byId = new Map(wanted.map(proxy => [proxy.id, proxy]))
    for (const process_ of this.#processes.values())
      if (byId.get(process_.proxy.id)?.fingerprint !== process_.proxy.fingerprint) this.#stop(process_)
    for (const found of left) if (!this.#fits(found, byId)) this.#stopStranger(found)
    for (const proxy of wanted) {
      if (this.#processes.has(proxy.id)) continue
      const process_ = new ManagedProcess(proxy, this.#around)
      this.#processes.set(proxy.id, process_)
      const adopted = left.find(found => found.mark.proxy === proxy.id && this.#fits(found, byId))
      const ending = this.#ending.get(proxy.id)
      if (ending === undefined) process_.start(adopted)
      else void ending.then(() => process_.start(adopted))
    }
  }

  /** Runs what is wanted now, with a token that is good. */
  #fits({ mark }: FoundProcess, wanted: ReadonlyMap<string, ManagedProxy>): boolean {
    const known = mark.accessor === '' || this.#options.knowsToken(mark.accessor)
    return known && wanted.get(mark.proxy)?.fingerprint === mark.fingerprint
  }

  #stop(process_: ManagedProcess): void {
    const { id } = process_.proxy
    this.#processes.delete(id)
    this.#end(id, process_.stop(), 'proxy stopped')
  }

  #stopStranger(found: FoundProcess): void {
    this.#end(
      found.mark.proxy,
      stopProcess(found, strangersStopMs),
      'a proxy that nobody wants any more is stopped',
    )
  }

  #end(id: string, stopped: Promise<void>, message: string): void {
    const before = this.#ending.get(id) ?? Promise.resolve()
    const ending = Promise.all([before, stopped]).then(() => {
      this.#options.dropTokens(id)
      if (this.#ending.get(id) === ending) this.#ending.delete(id)
      this.#options.log.info({ proxy: id }, message)
    })
    this.#ending.set(id, ending)
  }

  #rotateLogs(): void {
    for (const id of this.#processes.keys()) {
      try {
        this.#logFiles?.rotate(id)
      } catch (error) {
        this.#options.log.warn({ proxy: id, error: String(error) }, "the proxy's log can not be rotated")
      }
    }
  }
}
