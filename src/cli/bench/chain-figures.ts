// The main figures of one chain, wherever it is.
import {
  type BulkResult,
  type ConnectResult,
  type Durations,
  runLoad,
  type TripsResult,
} from '../../bench/load.ts'

export interface Figures {
  /** Gbit/s of one stream. */
  readonly up: number
  readonly down: number
  /** Microseconds. */
  readonly trip: Durations
  /** The same with 16 connections. */
  readonly trips: Durations
  /** A second. */
  readonly connections: number
}

const tripBytes = 64
const manyTrips = 16
const inFlight = 16

/** @throws LoadError where a byte is wrong, or a connection fails */
export async function measureChain(to: string, seconds: number): Promise<Figures> {
  const bulk = (direction: 'up' | 'down') => runLoad<BulkResult>('bulk', { to, direction, seconds })
  const rtt = (connections: number) =>
    runLoad<TripsResult>('rtt', { to, bytes: tripBytes, connections, seconds })
  return {
    up: (await bulk('up')).gbits,
    down: (await bulk('down')).gbits,
    trip: (await rtt(1)).microseconds,
    trips: (await rtt(manyTrips)).microseconds,
    connections: (await runLoad<ConnectResult>('connect', { to, seconds, 'in-flight': inFlight }))
      .connectionsASecond,
  }
}
