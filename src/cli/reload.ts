// Taking up a changed configuration: on SIGHUP and when a file changes; what does not validate changes nothing.
import type { Config, Overrides } from '../config/config.ts'
import { ConfigError, formatProblem, type Problem } from '../config/problem.ts'
import { type Watch, watchFiles } from '../config/watch.ts'
import { type Loaded, load } from './load.ts'
import type { ProcessLog } from './logger.ts'

export interface ReloadOptions {
  readonly file: string
  readonly overrides: Overrides
  readonly loaded: Loaded
  readonly log: ProcessLog
  readonly onLoaded: (loaded: Loaded) => Promise<void>
  readonly onResult: (succeeded: boolean) => void
}

export class Reload {
  readonly #options: ReloadOptions
  readonly #watch: Watch
  #current: Loaded
  #running: Promise<void> = Promise.resolve()
  #closed = false
  /** The problems of the last refusal; empty where the last load was good. */
  #refused = ''
  readonly #onHangUp = () => this.#queue('SIGHUP')

  constructor(options: ReloadOptions) {
    this.#options = options
    this.#current = options.loaded
    this.#watch = watchFiles(() => this.#queue('a changed file'))
    process.on('SIGHUP', this.#onHangUp)
  }

  /** From here on changes are taken up; one that came since the first load as well. */
  start(): void {
    this.#watch.watch(this.#current.files)
  }

  close(): void {
    this.#closed = true
    process.off('SIGHUP', this.#onHangUp)
    this.#watch.close()
  }

  /** One after the other; the last state of the files wins. */
  #queue(because: string): void {
    this.#running = this.#running
      .then(() => this.#reload(because))
      .catch((error: unknown) => {
        this.#options.log.error({ because, error: String(error) }, 'a change could not be taken up')
        this.#options.onResult(false)
      })
  }

  async #reload(because: string): Promise<void> {
    const { file, overrides, log, onLoaded, onResult } = this.#options
    if (this.#closed) return
    const { identity } = this.#current.desired
    const next = await load(file, overrides, identity).catch((error: unknown) => {
      if (error instanceof ConfigError) return error
      throw error
    })
    if (next instanceof ConfigError) {
      // Put right may be one of the files that it names, and they need not be those of the one in use.
      this.#watch.watch([...new Set([...next.files, ...this.#current.files])])
      return this.#refuse(because, next.problems, 'configuration refused, the former one stays')
    }
    this.#watch.watch(next.files)
    const changed = contentOf(next) !== contentOf(this.#current)
    if (changed) {
      log.info({ because }, 'configuration changed')
      this.#sayWhatNeedsRestart(next.config)
      this.#current = next
      log.setLevel(next.config.process.logLevel)
      await onLoaded(next)
    }
    if (next.problems.length > 0)
      return this.#refuse(because, next.problems, 'certificate refused, the former one stays')
    const wasRefused = this.#refused !== ''
    this.#refused = ''
    if (changed || wasRefused) onResult(true)
    if (changed) return
    if (wasRefused) log.info({ because }, 'configuration is good again, nothing has changed')
    else if (because === 'SIGHUP') log.info({ because }, 'configuration unchanged')
    else log.debug({ because }, 'configuration unchanged')
  }

  /** Said once for the same problems: a watch that begins anew reads them again. */
  #refuse(because: string, problems: readonly Problem[], message: string): void {
    const lines = problems.map(formatProblem)
    const said = lines.join('\n')
    if (said === this.#refused && because !== 'SIGHUP') return
    this.#refused = said
    for (const problem of lines) this.#options.log.error({ because, problem }, message)
    this.#options.onResult(false)
  }

  #sayWhatNeedsRestart({ process: next }: Config): void {
    const { process: now } = this.#current.config
    const same = {
      admin: JSON.stringify(now.admin) === JSON.stringify(next.admin),
      metrics: JSON.stringify(now.metrics) === JSON.stringify(next.metrics),
      data_plane: now.dataPlane === next.dataPlane,
      workers: now.workers === next.workers,
      key_exchange: now.keyExchange === next.keyExchange,
      resumption: now.resumption === next.resumption,
      ktls: now.ktls === next.ktls,
      aes: now.aes === next.aes,
      buffer_memory: now.bufferMemory === next.bufferMemory,
      log_json: now.logJson === next.logJson,
      consul_metrics: now.consulMetrics === next.consulMetrics,
    }
    const keys = Object.entries(same).flatMap(([key, unchanged]) => (unchanged ? [] : [key]))
    if (keys.length > 0) this.#options.log.warn({ keys }, 'these settings have changed and need a restart')
  }
}

/** Equal where nothing that matters has changed. */
function contentOf({ config, desired }: Loaded): string {
  const { leaf, trust } = desired.identity
  return JSON.stringify([config, leaf.chainPem, trust.digest])
}
