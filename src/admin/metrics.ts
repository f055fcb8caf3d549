// The metrics, named where they are fed: counters of the data plane read at each scrape, and what session records tell.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Counters, ListenerCounters, SessionRecord } from '../data-plane/interface.ts'
import { passedOverUntil } from '../upstream/choice.ts'
import { addConsulMetrics } from './consul-metrics.ts'

export interface MetricsSources {
  readonly version: string
  readonly dataPlaneName: string
  readonly counters: () => Counters
  readonly leaf: () => { readonly notBeforeAt: number; readonly notAfterAt: number } | undefined
  readonly generation: () => number
  readonly ready: () => boolean
  readonly logLinesDropped: () => number
  /** Milliseconds since each watch of an agent had its last good answer. */
  readonly watchAges: () => ReadonlyMap<string, number>
  /** Our own service, where the built-in proxy's metric names are to be served as well. */
  readonly consulNames?: () => string
}

export interface Metrics {
  noteSession(record: SessionRecord): void
  noteReload(succeeded: boolean): void
  /** The text of Prometheus' exposition format. */
  text(): Promise<string>
  readonly contentType: string
}

// From a loopback hop to a handshake across an ocean.
const durationBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export function createMetrics(sources: MetricsSources): Metrics {
  const register = new Registry()
  const registers = [register]
  collectDefaultMetrics({ register })

  const byListener = ['direction', 'service'] as const
  const read = (
    kind: 'counter' | 'gauge',
    facts: { name: string; help: string; value: (listener: ListenerCounters) => number },
  ) => {
    const collect = function (this: Counter<string> | Gauge<string>) {
      this.reset()
      for (const listener of sources.counters().listeners.values())
        this.inc(labels(listener), facts.value(listener))
    }
    const configuration = { name: facts.name, help: facts.help, labelNames: byListener, registers, collect }
    return kind === 'counter' ? new Counter(configuration) : new Gauge(configuration)
  }
  read('counter', {
    name: 'sidesplice_connections_accepted_total',
    help: 'Connections accepted',
    value: ({ accepted }) => accepted,
  })
  read('gauge', {
    name: 'sidesplice_sessions_open',
    help: 'Sessions that live now',
    value: ({ open }) => open,
  })
  read('gauge', {
    name: 'sidesplice_policy_waiting',
    help: 'Sessions that wait for a decision',
    value: ({ waiting }) => waiting,
  })
  read('gauge', {
    name: 'sidesplice_listeners_up',
    help: 'Listeners that are bound',
    value: ({ listening }) => Number(listening),
  })
  read('counter', {
    name: 'sidesplice_bytes_to_upstream_total',
    help: 'Payload bytes read from the side that opened the connection',
    value: ({ bytesToUpstream }) => bytesToUpstream,
  })
  read('counter', {
    name: 'sidesplice_bytes_to_downstream_total',
    help: 'Payload bytes read from the side that was dialed',
    value: ({ bytesToDownstream }) => bytesToDownstream,
  })
  endpointMetrics(sources, registers)
  if (sources.consulNames !== undefined)
    addConsulMetrics(register, { counters: sources.counters, service: sources.consulNames })

  new Gauge({
    name: 'sidesplice_build_info',
    help: 'Version and data plane, always 1',
    labelNames: ['version', 'data_plane', 'node', 'openssl'],
    registers,
  }).set(
    {
      version: sources.version,
      data_plane: sources.dataPlaneName,
      node: process.versions.node,
      openssl: process.versions.openssl,
    },
    1,
  )
  const current = (name: string, help: string, value: () => number) => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value())
      },
    })
  }
  current(
    'sidesplice_buffer_bytes',
    'Bytes that sessions own while they wait for a socket (native data plane)',
    () => sources.counters().bufferBytes ?? 0,
  )
  current('sidesplice_ready', 'Whether certificates and listeners are up', () => Number(sources.ready()))
  current('sidesplice_config_generation', 'Number of the configuration in use', sources.generation)
  current(
    'sidesplice_leaf_not_before_timestamp_seconds',
    'Start of our leaf certificate',
    () => (sources.leaf()?.notBeforeAt ?? 0) / 1000,
  )
  current(
    'sidesplice_leaf_not_after_timestamp_seconds',
    'End of our leaf certificate',
    () => (sources.leaf()?.notAfterAt ?? 0) / 1000,
  )
  new Counter({
    name: 'sidesplice_log_lines_dropped_total',
    help: 'Log lines dropped because their reader did not keep up',
    registers,
    collect() {
      this.reset()
      this.inc(sources.logLinesDropped())
    },
  })

  new Gauge({
    name: 'sidesplice_watch_age_seconds',
    help: "Since the watch's last good answer; the agent answers each minute also where nothing changes",
    labelNames: ['watch'],
    registers,
    collect() {
      this.reset()
      for (const [watch, ageMs] of sources.watchAges()) this.set({ watch }, ageMs / 1000)
    },
  })

  const reloads = new Counter({
    name: 'sidesplice_config_reloads_total',
    help: 'Configuration changes seen',
    labelNames: ['result'],
    registers,
  })
  for (const result of ['success', 'failure']) reloads.inc({ result }, 0)
  const ended = new Counter({
    name: 'sidesplice_sessions_ended_total',
    help: 'Sessions by how they ended',
    labelNames: [...byListener, 'reason'],
    registers,
  })
  const relayed = new Counter({
    name: 'sidesplice_sessions_relayed_total',
    help: 'Sessions that were relayed and have ended, by what moved their bytes',
    labelNames: [...byListener, 'relay'],
    registers,
  })
  const resumed = new Counter({
    name: 'sidesplice_sessions_resumed_total',
    help: 'Sessions that have ended whose TLS handshake resumed an earlier connection',
    labelNames: byListener,
    registers,
  })
  const spliced = new Counter({
    name: 'sidesplice_spliced_bytes_total',
    help: 'Payload bytes of sessions that have ended which the kernel moved from socket to socket',
    labelNames: byListener,
    registers,
  })
  const attempts = new Counter({
    name: 'sidesplice_attempts_total',
    help: 'Attempts to reach an endpoint by their outcome',
    labelNames: ['service', 'outcome'],
    registers,
  })
  const duration = (name: string, help: string) =>
    new Histogram({ name, help, labelNames: byListener, buckets: durationBuckets, registers })
  const policySeconds = duration('sidesplice_policy_duration_seconds', 'Waiting for decisions')
  const connectSeconds = duration(
    'sidesplice_connect_duration_seconds',
    'Dialing the endpoint or local app that carried the session',
  )
  const handshakeSeconds = duration('sidesplice_handshake_duration_seconds', 'TLS handshakes that succeeded')

  return {
    contentType: register.contentType,
    // prom-client writes Nan, as for a lag of the event loop without a sample yet; the format knows NaN.
    text: async () => (await register.metrics()).replaceAll(/ Nan$/gm, ' NaN'),
    noteReload: succeeded => reloads.inc({ result: succeeded ? 'success' : 'failure' }),
    noteSession(record) {
      const of = labels(record)
      ended.inc({ ...of, reason: record.reason })
      resumed.inc(of, record.resumed === true ? 1 : 0)
      if (record.relayed) {
        relayed.inc({ ...of, relay: record.relay })
        spliced.inc(of, record.splicedBytes ?? 0)
      }
      for (const { outcome } of record.attempts) attempts.inc({ service: record.name, outcome })
      if (record.policyMs !== undefined) policySeconds.observe(of, record.policyMs / 1000)
      if (record.connectMs !== undefined) connectSeconds.observe(of, record.connectMs / 1000)
      if (record.handshakeMs !== undefined) handshakeSeconds.observe(of, record.handshakeMs / 1000)
    },
  }
}

function endpointMetrics(sources: MetricsSources, registers: Registry[]): void {
  const labelNames = ['service', 'endpoint'] as const
  type Value = (endpoint: Parameters<typeof passedOverUntil>[0] & object, now: number) => number
  const collectInto = (metric: Counter<string> | Gauge<string>, value: Value) => {
    const now = performance.now()
    metric.reset()
    for (const { name: service, endpoints } of sources.counters().listeners.values()) {
      for (const [endpoint, counters] of endpoints) metric.inc({ service, endpoint }, value(counters, now))
    }
  }
  const counter = (name: string, help: string, value: Value) =>
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        collectInto(this, value)
      },
    })
  const gauge = (name: string, help: string, value: Value) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        collectInto(this, value)
      },
    })
  counter('sidesplice_endpoint_attempts_total', 'Attempts to reach the endpoint', ({ attempts }) => attempts)
  counter(
    'sidesplice_endpoint_failures_total',
    'Attempts that failed and are held against the endpoint',
    ({ failures }) => failures,
  )
  gauge(
    'sidesplice_endpoint_sessions_open',
    'Sessions that dial the endpoint or are carried by it',
    ({ open }) => open,
  )
  gauge(
    'sidesplice_endpoint_passed_over',
    'Whether the endpoint is passed over because it keeps failing',
    (endpoint, now) => Number(passedOverUntil(endpoint, now) !== undefined),
  )
}

function labels({ direction, name }: { readonly direction: string; readonly name: string }) {
  return { direction, service: name }
}
