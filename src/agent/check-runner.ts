// Health checks at work: looks at intervals, TTLs that run out, and instances that are taken back when critical for long.
import type { Log } from '../proxy/log.ts'
import type { Catalog } from './catalog.ts'
import { type Finding, look } from './probes.ts'
import type { Probe, Row } from './rows.ts'
import type { State } from './state.ts'
import { topicOf } from './topics.ts'

export interface CheckRunnerOptions {
  readonly state: State
  readonly catalog: Catalog
  readonly log: Log
  readonly look?: typeof look
}

interface Running {
  readonly probe: string
  readonly stop: AbortController
  /** Starts a TTL anew. */
  readonly heard: () => void
}

// What does not listen yet is looked at soon again: a proxy that has just been started must not wait for a whole interval. After
// these looks, five seconds, each comes twice as late as the one before, up to the interval.
const soonMs = 100
const soonLooks = 50
// setTimeout's own bound.
const longestMs = 2_147_483_647

export class CheckRunner {
  readonly #options: CheckRunnerOptions
  readonly #running = new Map<string, Running>()
  readonly #critical = new Map<string, NodeJS.Timeout>()
  readonly #stop = new AbortController()

  constructor(options: CheckRunnerOptions) {
    this.#options = options
  }

  /** Follows the catalog until it is closed. */
  async run(): Promise<void> {
    const { state } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted) {
      const index = state.indexOf([topicOf.checks])
      this.#follow()
      await state.wait([topicOf.checks], { index, ms: longestMs, signal })
    }
  }

  /** A heartbeat came. */
  heard(id: string): void {
    this.#running.get(id)?.heard()
  }

  close(): void {
    this.#stop.abort()
    for (const { stop } of this.#running.values()) stop.abort()
    for (const timer of this.#critical.values()) clearTimeout(timer)
  }

  #follow(): void {
    const checks = new Map(this.#options.state.all('check').map(check => [check.CheckID, check]))
    for (const [id, { probe, stop }] of this.#running) {
      const check = checks.get(id)
      if (check !== undefined && JSON.stringify(check.probe) === probe) continue
      stop.abort()
      this.#running.delete(id)
    }
    for (const [id, check] of checks) if (!this.#running.has(id)) this.#start(check)
    this.#followCritical(checks)
  }

  #start({ CheckID: id, probe }: Row<'check'>): void {
    const stop = new AbortController()
    const started = { probe: JSON.stringify(probe), stop }
    if (probe.by === 'ttl') {
      this.#running.set(id, { ...started, heard: this.#runTtl(id, probe.ttlMs, stop.signal) })
      return
    }
    this.#running.set(id, { ...started, heard: () => {} })
    if (probe.by === 'tcp' || probe.by === 'http') void this.#runLooks(id, probe, stop.signal)
  }

  /** @returns what a heartbeat does */
  #runTtl(id: string, ttlMs: number, signal: AbortSignal): () => void {
    const expire = () => this.#note(id, { status: 'critical', output: 'TTL expired' })
    let timer = setTimeout(expire, Math.min(ttlMs, longestMs))
    signal.addEventListener('abort', () => clearTimeout(timer))
    return () => {
      clearTimeout(timer)
      timer = setTimeout(expire, Math.min(ttlMs, longestMs))
    }
  }

  async #runLooks(
    id: string,
    probe: Extract<Probe, { by: 'tcp' | 'http' }>,
    signal: AbortSignal,
  ): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      const finding = await (this.#options.look ?? look)(probe, signal)
      if (signal.aborted) return
      this.#note(id, finding)
      failures = finding.status === 'passing' ? 0 : failures + 1
      const soon = soonMs * 2 ** Math.max(failures - soonLooks, 0)
      const again = probe.by === 'tcp' && failures > 0
      const ms = again ? Math.min(soon, probe.intervalMs) : probe.intervalMs
      await pause(ms, signal)
    }
  }

  #note(id: string, { status, output }: Finding): void {
    try {
      this.#options.catalog.setStatus(id, status, output)
    } catch (error) {
      this.#options.log.error({ check: id, error: String(error) }, "a check's result can not be kept")
    }
  }

  #followCritical(checks: ReadonlyMap<string, Row<'check'>>): void {
    for (const [id, timer] of this.#critical) {
      if (checks.get(id)?.Status === 'critical') continue
      clearTimeout(timer)
      this.#critical.delete(id)
    }
    for (const [id, check] of checks) {
      if (check.Status !== 'critical' || check.deregisterAfterMs === 0 || this.#critical.has(id)) continue
      const ms = Math.min(check.deregisterAfterMs, longestMs)
      this.#critical.set(
        id,
        setTimeout(() => this.#reap(id), ms),
      )
    }
  }

  /** An instance whose check was critical for that long goes; where it is a proxy of a service's own, with its service. */
  #reap(id: string): void {
    const { state, catalog, log } = this.#options
    const check = state.get('check', id)
    const service = check === undefined ? undefined : state.get('service', check.ServiceID)
    if (check?.Status !== 'critical' || service === undefined) return
    log.warn({ service: service.ID, check: id }, 'deregistered: critical for longer than its check allows')
    catalog.deregister(service.managed === undefined ? service.ID : (service.parent ?? service.ID))
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done)
  })
}
