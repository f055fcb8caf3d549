// The three things that `sidesplice bench` can be.
import { lookup } from 'node:dns/promises'
import { formatAddress, parseAddress } from '../../address.ts'
import { LoadServer } from '../../bench/load.ts'
import { aeadSpeed, aeads, describeMachine } from '../../bench/machine.ts'
import { ownAesSpeeds } from '../../data-plane/open.ts'
import type { BenchValues } from '../bench.ts'
import { type Figures, measureChain } from './chain-figures.ts'
import { measureHop } from './hop.ts'

const aeadSeconds = 0.4

export async function runBenchCommand({ upstream, app, seconds }: BenchValues): Promise<void> {
  if (app !== undefined) return serveApp(app)
  if (upstream !== undefined) return measureUpstream(await resolved(upstream), Number(seconds))
  return measureMachine(Number(seconds))
}

/** Until it is told to stop. */
async function serveApp(address: string): Promise<void> {
  const stopped = new Promise(resolve => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
  })
  const server = await LoadServer.start('app', { listen: await resolved(address) })
  say(`the app of a bench listens on ${server.address}; Ctrl-C stops it`)
  const ended = new Promise((_, reject) =>
    server.child.once('exit', code => reject(new Error(`the app ended with ${code}`))),
  )
  try {
    await Promise.race([stopped, ended])
  } finally {
    ended.catch(() => {})
    server.stop()
  }
}

async function measureUpstream(address: string, seconds: number): Promise<void> {
  say(`the chain behind ${address}, ${seconds} s each; every byte is compared`)
  tell(await measureChain(address, seconds))
}

async function measureMachine(seconds: number): Promise<void> {
  const { cpu, cores, memoryGb, kernel, node, openssl, kernelTls } = describeMachine()
  say(`${cpu}, ${cores} cores, ${memoryGb} GB; Linux ${kernel}; Node ${node}, OpenSSL ${openssl}`)
  say(`kernel TLS: ${kernelTls ? 'offered by this kernel' : 'not offered by this kernel'}`)
  say('encryption, one core, GB/s:')
  for (const name of aeads) row(name, aeadSpeed(name, aeadSeconds).toFixed(1))
  for (const [name, speed] of ownAesSpeeds(aeadSeconds)) row(`${name}, of our own`, speed.toFixed(1))
  const app = await LoadServer.start('app', { listen: '127.0.0.1:0' })
  try {
    say('loopback, no proxy:')
    const direct = await measureChain(app.address, seconds)
    tell(direct)
    await measureHop({ app: app.address, direct, seconds, say, row, tell })
  } finally {
    app.stop()
  }
}

function tell({ up, down, trip, trips, connections }: Figures): void {
  row('one stream up, Gbit/s', up.toFixed(2))
  row('one stream down, Gbit/s', down.toFixed(2))
  row(
    'round trip of 64 B, us',
    `p50 ${trip.p50.toFixed(0)}, p99 ${trip.p99.toFixed(0)}, p99.9 ${trip.p999.toFixed(0)}`,
  )
  row(
    'the same on 16 at once, us',
    `p50 ${trips.p50.toFixed(0)}, p99 ${trips.p99.toFixed(0)}, p99.9 ${trips.p999.toFixed(0)}`,
  )
  row('new connections a second', connections.toFixed(0))
}

function row(name: string, value: string): void {
  say(`  ${name.padEnd(36)} ${value}`)
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** The load generator knows no names. */
async function resolved(text: string): Promise<string> {
  const address = parseAddress(text)
  if (address === undefined) throw new Error(`got ${text}, expected host:port`)
  const found = await lookup(address.host)
  return formatAddress({ host: found.address, port: address.port })
}
