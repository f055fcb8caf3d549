// What the embedded agent does on this machine: `node test/soak/agent.ts`. Calls a second, memory and wake-up latency with a thousand
// services and a thousand blocked watches, and the time from registering to the first byte through a new managed proxy. Prints JSON.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { build, packageRoot } from '../support/command.ts'
import { freePort } from '../support/free-ports.ts'

const services = 1_000
const watches = 1_000
const callsMs = 5_000
const wakes = 200
const firstBytes = 10

const pooled = new http.Agent({ keepAlive: true, maxSockets: 32 })
const single = new http.Agent({ keepAlive: false })
const port = (await freePort()).port

function send(
  method: string,
  path: string,
  body?: object,
  agent = pooled,
): Promise<{ status: number; text: string; index: string }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, method, path, agent }, answer => {
      let text = ''
      answer.on('data', chunk => {
        text += chunk
      })
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, text, index: String(answer.headers['x-consul-index']) }),
      )
    })
    request.on('error', reject)
    request.end(body === undefined ? undefined : JSON.stringify(body))
  })
}

/** Calls a second, by so many at a time. */
async function rate(call: (at: number) => Promise<unknown>, atOnce: number): Promise<number> {
  const endAt = performance.now() + callsMs
  let calls = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (performance.now() < endAt) await call(calls++)
    }),
  )
  return Math.round((calls * 1_000) / callsMs)
}

function percentiles(values: readonly number[]): { p50: number; p99: number; most: number } {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => Number((sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(1))
  return { p50: at(0.5), p99: at(0.99), most: at(1) }
}

function memoryMiB(pid: number): number {
  const [, kib = '0'] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Math.round(Number(kib) / 1_024)
}

/** From the call that registers it to the first byte through its proxy, from a listener that is there already. */
async function firstByte(at: number, upstream: number, appPort: number): Promise<number> {
  const startedAt = performance.now()
  await send('PUT', '/v1/agent/service/register', {
    Name: `first${at}`,
    Port: appPort,
    Connect: { Proxy: { Config: { drain: 0 } } },
  })
  for (;;) {
    const answered = await new Promise<boolean>(resolve => {
      const socket = net.connect(upstream, '127.0.0.1', () => socket.write('x'))
      socket.once('data', () => {
        resolve(true)
        socket.destroy()
      })
      socket.once('close', () => resolve(false))
      socket.on('error', () => {})
    })
    if (answered) return performance.now() - startedAt
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

build()
const folder = mkdtempSync(join(tmpdir(), 'sidesplice-measure-'))
writeFileSync(
  join(folder, 'agent.json'),
  JSON.stringify({ connect: { proxy: { allow_managed_root: true, allow_managed_api_registration: true } } }),
)
const child = spawn(
  process.execPath,
  [
    join(packageRoot, 'bin', 'sidesplice.cjs'),
    'agent',
    '--data-dir',
    join(folder, 'state'),
    '--config',
    join(folder, 'agent.json'),
    '--http-port',
    String(port),
  ],
  { stdio: 'ignore' },
)
const app = net.createServer(socket => socket.on('error', () => {}).pipe(socket))
try {
  while ((await send('GET', '/v1/status/leader').catch(() => undefined))?.status !== 200)
    await new Promise(resolve => setTimeout(resolve, 50))
  const atStart = memoryMiB(child.pid ?? 0)
  const reads = await rate(() => send('GET', '/v1/health/connect/none?passing'), 32)
  const writes = await rate(
    at => send('PUT', `/v1/connect/intentions/exact?source=s${at % 100}&destination=db`, { Action: 'deny' }),
    32,
  )
  for (let at = 0; at < services; at++)
    await send('PUT', '/v1/agent/service/register', {
      Name: `s${at}`,
      Port: 1,
      Connect: { SidecarService: { Port: 1 + at, Checks: [{ TTL: '1h', Status: 'passing' }] } },
    })
  const withServices = memoryMiB(child.pid ?? 0)
  const wokenAt = new Map<string, (at: number) => void>()
  let blocked = 0
  const watch = async (name: string) => {
    let { index } = await send('GET', `/v1/health/connect/${name}?passing`)
    for (;;) {
      blocked++
      const answer = await send(
        'GET',
        `/v1/health/connect/${name}?passing&index=${index}&wait=10m`,
        undefined,
        single,
      ).catch(() => undefined)
      if (answer === undefined) return
      index = answer.index
      wokenAt.get(name)?.(performance.now())
    }
  }
  for (let at = 0; at < watches; at++) void watch(`s${at}`)
  while (blocked < watches) await new Promise(resolve => setTimeout(resolve, 50))
  await new Promise(resolve => setTimeout(resolve, 1_000))
  const withWatches = memoryMiB(child.pid ?? 0)
  const latencies: number[] = []
  for (let at = 0; at < wakes; at++) {
    const name = `s${(at * 37) % watches}`
    const woken = new Promise<number>(resolve => wokenAt.set(name, resolve))
    const changedAt = performance.now()
    await send('PUT', '/v1/agent/service/register', {
      Name: name,
      Port: 1,
      Tags: [`t${at}`],
      Connect: { SidecarService: { Port: 1, Checks: [{ TTL: '1h', Status: 'passing' }] } },
    })
    latencies.push((await woken) - changedAt)
    wokenAt.delete(name)
  }
  await new Promise<void>(resolve => app.listen(0, '127.0.0.1', resolve))
  const appPort = (app.address() as net.AddressInfo).port
  const first = (await freePort()).port
  const Upstreams = Array.from({ length: firstBytes }, (_, at) => ({
    DestinationName: `first${at}`,
    LocalBindPort: first + at,
  }))
  await send('PUT', '/v1/agent/service/register', {
    Name: 'client',
    Port: 1,
    Connect: { Proxy: { Upstreams, Config: { drain: 0 } } },
  })
  while (!(await send('GET', '/v1/health/connect/client?passing')).text.includes('client-proxy'))
    await new Promise(resolve => setTimeout(resolve, 100))
  const times: number[] = []
  for (let at = 0; at < firstBytes; at++) {
    times.push(await firstByte(at, first + at, appPort))
    await send('PUT', `/v1/agent/service/deregister/first${at}`)
  }
  await send('PUT', '/v1/agent/service/deregister/client')
  await new Promise(resolve => setTimeout(resolve, 2_000))
  const result = {
    readsPerSecond: reads,
    writesPerSecond: writes,
    memoryMiB: { atStart, withServices, withWatches },
    wakeUpMs: percentiles(latencies),
    registerToFirstByteMs: percentiles(times),
  }
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
} finally {
  child.kill('SIGTERM')
  app.close()
  rmSync(folder, { recursive: true, force: true })
}
process.exit()
