// One running sidecar of this process: its proxy, admin listeners, file watch and signals, from start to end.
import { createMetrics, type Metrics } from '../admin/metrics.ts'
import { type AdminServer, type AdminSources, serveAdmin } from '../admin/server.ts'
import { Sidecar } from '../proxy/sidecar.ts'
import { describeSession, describeState } from '../proxy/state.ts'
import { LineSink } from './line-sink.ts'
import type { ProcessLog } from './logger.ts'
import { nonBlocking } from './non-blocking.ts'
import type { StateSource } from './source.ts'
import { type StopSignals, stopSignals } from './stop-signals.ts'

export interface SidecarOptions {
  readonly source: StateSource
  readonly log: ProcessLog
  readonly version: string
  readonly onPrintMetrics: (handler: () => void) => void
}

/**
 * Resolves once the sidecar was told to stop and has.
 * @throws SidespliceError `admin_bind_failed`, `identity_refused`, and those of the source's start
 */
export async function runSidecar(options: SidecarOptions): Promise<void> {
  const { log, source } = options
  const signals = stopSignals()
  let metrics: Metrics | undefined
  const sidecar = new Sidecar({
    dataPlane: source.settings().dataPlane,
    workers: source.settings().workers,
    keyExchange: source.settings().keyExchange,
    resumption: source.settings().resumption,
    ktls: source.settings().ktls,
    aes: source.settings().aes,
    bufferMemory: source.settings().bufferMemory,
    log,
    accessLog: () => source.settings().accessLog,
    missing: () => source.missing(),
    ...(source.askAgent !== undefined && { askAgent: source.askAgent }),
    onSession: record => {
      metrics?.noteSession(record)
      source.noteSession(record)
    },
  })
  metrics = createMetrics({
    version: options.version,
    dataPlaneName: sidecar.dataPlaneName,
    counters: () => sidecar.counters(),
    leaf: () => sidecar.snapshot?.identity.leaf,
    generation: () => sidecar.snapshot?.generation ?? 0,
    ready: () => sidecar.missing().length === 0,
    logLinesDropped: () => log.dropped(),
    watchAges: () => source.watchAges(),
    ...(source.settings().consulMetrics && { consulNames: () => sidecar.snapshot?.service ?? '' }),
  })
  printOnSignal(options, metrics)
  const admin = await serveOperators(source, { sidecar, metrics })
  try {
    const started = source.start(
      state => sidecar.apply(state),
      succeeded => metrics.noteReload(succeeded),
      () => sidecar.missing(),
    )
    // A source may have to wait for long, and be told to stop meanwhile.
    await Promise.race([started, signals.first])
    await signals.first
    await stop(sidecar, source, { log, signals })
  } finally {
    await source.close()
    await Promise.all(admin.map(server => server.close()))
  }
}

async function stop(
  sidecar: Sidecar,
  source: StateSource,
  { log, signals }: { readonly log: ProcessLog; readonly signals: StopSignals },
): Promise<void> {
  const { drainMs, drainDelayMs } = source.settings()
  sidecar.announceStop()
  const sessions = sidecar.sessions().length
  log.info(
    { signal: await signals.first, sessions, drain_delay_s: drainDelayMs / 1000, drain_s: drainMs / 1000 },
    'stopping',
  )
  await Promise.race([source.stopping(), signals.cut])
  await signals.sleep(drainDelayMs)
  const { cut } = await sidecar.stop({ graceMs: drainMs, signal: signals.second })
  log.info({ sessions_cut: cut, by_second_signal: signals.second.aborted }, 'stopped')
}

async function serveOperators(
  source: StateSource,
  { sidecar, metrics }: { readonly sidecar: Sidecar; readonly metrics: Metrics },
): Promise<readonly AdminServer[]> {
  const { admin, metrics: metricsAddress } = source.settings()
  const sources: AdminSources = {
    missing: () => sidecar.missing(),
    metrics,
    sessions: () => sidecar.sessions().map(describeSession),
    state: () => describeState(sidecar, source.notices()),
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
