// One running sidecar of this process: its proxy, admin listeners, file watch and signals, from start to end.
import { createMetrics, type Metrics } from '../admin/metrics.ts'
import { type AdminServer, type AdminSources, serveAdmin } from '../admin/server.ts'
import type { Overrides, ProcessSettings } from '../config/config.ts'
import { Sidecar } from '../proxy/sidecar.ts'
import { describeSession, describeState } from '../proxy/state.ts'
import { LineSink } from './line-sink.ts'
import type { Loaded } from './load.ts'
import type { ProcessLog } from './logger.ts'
import { nonBlocking } from './non-blocking.ts'
import { Reload } from './reload.ts'
import { stopSignals } from './stop-signals.ts'

export interface SidecarOptions {
  readonly file: string
  readonly overrides: Overrides
  readonly loaded: Loaded
  readonly log: ProcessLog
  readonly version: string
  readonly onPrintMetrics: (handler: () => void) => void
}

/**
 * Resolves once the sidecar was told to stop and has.
 * @throws SidespliceError `admin_bind_failed`, `identity_refused`
 */
export async function runSidecar(options: SidecarOptions): Promise<void> {
  const { log, loaded } = options
  const signals = stopSignals()
  let settings = loaded.config.process
  let metrics: Metrics | undefined
  const sidecar = new Sidecar({
    dataPlane: settings.dataPlane,
    log,
    accessLog: () => settings.accessLog,
    onSession: record => metrics?.noteSession(record),
  })
  metrics = createMetrics({
    version: options.version,
    dataPlaneName: sidecar.dataPlaneName,
    counters: () => sidecar.counters(),
    leaf: () => sidecar.snapshot?.identity.leaf,
    generation: () => sidecar.snapshot?.generation ?? 0,
    ready: () => sidecar.missing().length === 0,
    logLinesDropped: () => log.dropped(),
  })
  printOnSignal(options, metrics)
  const admin = await serveOperators(settings, { sidecar, metrics })
  const reload = new Reload({
    ...options,
    onLoaded: async next => {
      settings = next.config.process
      await sidecar.apply(next.desired)
    },
    onResult: succeeded => metrics.noteReload(succeeded),
  })
  try {
    await sidecar.apply(loaded.desired)
    reload.start()
    await signals.first
    await stop(sidecar, settings, { log, signals })
  } finally {
    reload.close()
    await Promise.all(admin.map(server => server.close()))
  }
}

async function stop(
  sidecar: Sidecar,
  { drainMs, drainDelayMs }: ProcessSettings,
  { log, signals }: { readonly log: ProcessLog; readonly signals: ReturnType<typeof stopSignals> },
): Promise<void> {
  sidecar.announceStop()
  const sessions = sidecar.sessions().length
  log.info(
    { signal: await signals.first, sessions, drain_delay_s: drainDelayMs / 1000, drain_s: drainMs / 1000 },
    'stopping',
  )
  await signals.sleep(drainDelayMs)
  const { cut } = await sidecar.stop({ graceMs: drainMs, signal: signals.second })
  log.info({ sessions_cut: cut, by_second_signal: signals.second.aborted }, 'stopped')
}

async function serveOperators(
  { admin, metrics: metricsAddress }: ProcessSettings,
  { sidecar, metrics }: { readonly sidecar: Sidecar; readonly metrics: Metrics },
): Promise<readonly AdminServer[]> {
  const sources: AdminSources = {
    missing: () => sidecar.missing(),
    metrics,
    sessions: () => sidecar.sessions().map(describeSession),
    state: () => describeState(sidecar),
  }
  const servers: AdminServer[] = []
  if (admin !== undefined) servers.push(await serveAdmin('admin', admin, sources))
  if (metricsAddress !== undefined) servers.push(await serveAdmin('metrics', metricsAddress, sources))
  return servers
}

/** SIGUSR1, as Consul has it: the metrics on standard error. */
function printOnSignal({ onPrintMetrics, log }: SidecarOptions, metrics: Metrics): void {
  const sink = new LineSink({ fd: nonBlocking(2), droppedLine: lines => `# ${lines} lines were dropped\n` })
  onPrintMetrics(() => {
    metrics.text().then(
      text => sink.write(text),
      (error: unknown) => log.error({ error: String(error) }, 'the metrics can not be printed'),
    )
  })
}
