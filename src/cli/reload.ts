// Taking up a changed configuration: on SIGHUP and when a file changes; what does not validate changes nothing.
import type { Config, Overrides } from '../config/config.ts'
import { ConfigError, formatProblem } from '../config/problem.ts'
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
  #refused = false
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
    this.#running = this.#running.then(() => this.#reload(because))
  }

  async #reload(because: string): Promise<void> {
    const { file, overrides, log, onLoaded, onResult } = this.#options
    if (this.#closed) return
    let next: Loaded
    try {
      next = await load(file, overrides)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      for (const problem of error.problems)
        log.error({ because, problem: formatProblem(problem) }, 'configuration refused, the former one stays')
      this.#refused = true
      return onResult(false)
    }
    const wasRefused = this.#refused
    this.#refused = false
    this.#watch.watch(next.files)
    if (contentOf(next) === contentOf(this.#current)) {
      if (wasRefused) log.info({ because }, 'configuration is good again, nothing has changed')
      else log.debug({ because }, 'configuration unchanged')
      return
    }
    log.info({ because }, 'configuration changed')
    this.#sayWhatNeedsRestart(next.config)
    this.#current = next
    log.setLevel(next.config.process.logLevel)
    await onLoaded(next)
    onResult(true)
  }

  #sayWhatNeedsRestart({ process: next }: Config): void {
    const { process: now } = this.#current.config
    const same = {
      admin: JSON.stringify(now.admin) === JSON.stringify(next.admin),
      metrics: JSON.stringify(now.metrics) === JSON.stringify(next.metrics),
      data_plane: now.dataPlane === next.dataPlane,
      log_json: now.logJson === next.logJson,
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
