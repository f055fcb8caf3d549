// What the embedded agent costs: calls a second, services with a blocked watch each, and how soon a new managed proxy serves.
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { Pool } from 'undici'
import { freeAddress } from '../src/bench/ports.ts'
import { ProxyProcess } from '../src/bench/process.ts'
import { memory } from '../src/bench/usage.ts'
import type { Growth } from './growth.ts'
import { portOf } from './peer.ts'
import { bin } from './peers/sidesplice.ts'

export interface AgentPlan {
  readonly seconds: number
  /** Services, each with a blocked watch. */
  readonly services: readonly number[]
  readonly changes: number
  readonly proxies: number
  readonly onProgress: (what: string) => void
}

const atOnce = [1, 16]
const wakeLimitMs = 30_000
const retryMs = 2
// Memory is read once what came before has been collected.
const settleMs = 3_000

export async function measureAgent(plan: AgentPlan): Promise<readonly Growth[]> {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-bench-agent-'))
  const address = await freeAddress()
  const file = join(folder, 'agent.json')
  const connect = { proxy: { allow_managed_root: true, allow_managed_api_registration: true } }
  writeFileSync(file, JSON.stringify({ connect }))
  const agent = await ProxyProcess.start({
    command: process.execPath,
    args: [
      ...[bin, 'agent', '--http-port', String(portOf(address))],
      ...['--data-dir', join(folder, 'state'), '--config', file],
    ],
    listens: address,
    readyText: 'agent is up',
    log: join(folder, 'agent.log'),
  })
  const api = new Api(address)
  try {
    return [
      ...(await overCalls(plan, api)),
      ...(await overServices(plan, api, agent.pid)),
      await overProxies(plan, api),
    ]
  } finally {
    await api.close()
    await agent.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

class Api {
  readonly #pool: Pool

  constructor(address: string) {
    // A blocked watch has a connection for itself.
    this.#pool = new Pool(`http://${address}`, { headersTimeout: 0, bodyTimeout: 0 })
  }

  /** The index that it answered with. */
  async call(method: 'GET' | 'PUT', path: string, body?: object): Promise<number> {
    const {
      statusCode,
      headers,
      body: answer,
    } = await this.#pool.request({
      ...{ method, path },
      ...(body !== undefined && {
        body: JSON.stringify(body),
        headers: { 'content-type': 'application/json' },
      }),
    })
    const text = await answer.text()
    if (statusCode !== 200) throw new Error(`${method} ${path}: ${statusCode} ${text}`)
    return Number(headers['x-consul-index'] ?? 0)
  }

  register(service: object): Promise<number> {
    return this.call('PUT', '/v1/agent/service/register', service)
  }

  close(): Promise<void> {
    return this.#pool.destroy()
  }
}

async function overCalls({ seconds, onProgress }: AgentPlan, api: Api): Promise<readonly Growth[]> {
  await api.register({ Name: 'read', Port: 1 })
  let number = 0
  const over = 'calls at once'
  const kinds = [
    { of: 'reads of an instance', call: () => api.call('GET', '/v1/health/service/read') },
    {
      of: 'registrations, each on the disk before it is answered',
      // Always another port: the same anew would change nothing.
      call: () => api.register({ Name: 'written', Port: 1 + (number++ % 60_000) }),
    },
  ]
  const found: Growth[] = []
  for (const { of, call } of kinds) {
    const points: [number, number][] = []
    for (const count of atOnce) {
      onProgress(`${of}, ${count} at once`)
      let calls = 0
      const end = performance.now() + seconds * 1_000
      const caller = async () => {
        for (; performance.now() < end; calls++) await call()
      }
      await Promise.all(Array.from({ length: count }, caller))
      points.push([count, calls / seconds])
    }
    found.push({ of, unit: 'a second', over, points })
  }
  return found
}

async function overServices(plan: AgentPlan, api: Api, pid: number): Promise<readonly Growth[]> {
  const watches = new Watches(api)
  const rss: [number, number][] = []
  const median: [number, number][] = []
  const p99: [number, number][] = []
  const last: [number, number][] = []
  let port = 1
  for (const count of plan.services) {
    plan.onProgress(`${count} services, each with a blocked watch`)
    while (watches.count < count) {
      const name = `watched-${watches.count}`
      await api.register({ Name: name, Port: port })
      watches.begin(name)
    }
    await watches.allBlocked()
    await wait(settleMs)
    rss.push([count, (memory(pid).rss * 1_024) / 1e6])
    const times: number[] = []
    for (let change = 0; change < plan.changes; change++) {
      const name = `watched-${Math.floor(Math.random() * count)}`
      const woken = watches.answer(name)
      const begun = performance.now()
      await Promise.all([api.register({ Name: name, Port: ++port }), woken])
      times.push(performance.now() - begun)
      await watches.allBlocked()
    }
    const sorted = times.toSorted((one, other) => one - other)
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    median.push([count, at(0.5)])
    p99.push([count, at(0.99)])
    // All of another kind: they wait for the same service.
    const same = Array.from({ length: count }, () => watches.once('watched-0'))
    const asked = await Promise.all(same.map(one => one.asked))
    await wait(settleMs)
    const begun = performance.now()
    await Promise.all([api.register({ Name: 'watched-0', Port: ++port }), ...asked.map(one => one.answered)])
    last.push([count, performance.now() - begun])
    await watches.allBlocked()
  }
  const over = 'services, a blocked watch each'
  const change = 'a registration, answered, and its watch as well'
  return [
    { of: 'memory of the agent (RSS)', unit: 'MB', over, points: rss },
    { of: `${change}, median`, unit: 'ms', over, points: median },
    { of: `${change}, p99`, unit: 'ms', over, points: p99 },
    {
      of: 'a registration that as many watches of one service wait for, until the last has it',
      unit: 'ms',
      over: 'watches of one service',
      points: last,
    },
  ]
}

/** Blocking queries, each of which is asked again as soon as it is answered. */
class Watches {
  readonly #api: Api
  readonly #answered = new Map<string, (() => void)[]>()
  readonly #blocked = new Set<string>()

  constructor(api: Api) {
    this.#api = api
  }

  get count(): number {
    return this.#answered.size
  }

  begin(name: string): void {
    this.#answered.set(name, [])
    void this.#follow(name).catch(() => {})
  }

  answer(name: string): Promise<void> {
    return new Promise(resolve => this.#answered.get(name)?.push(resolve))
  }

  /** One more that waits for the next change of this service. */
  once(name: string) {
    const path = `/v1/health/service/${name}`
    const asked = this.#api
      .call('GET', path)
      .then(index => ({ answered: this.#api.call('GET', `${path}?index=${index}&wait=9m`) }))
    return { asked }
  }

  async allBlocked(): Promise<void> {
    for (const end = performance.now() + wakeLimitMs; this.#blocked.size < this.count; await wait(retryMs))
      if (performance.now() > end)
        throw new Error(`${this.#blocked.size} of ${this.count} watches are blocked`)
  }

  async #follow(name: string): Promise<void> {
    for (let index = 0; ; ) {
      const answer = this.#api.call('GET', `/v1/health/service/${name}?index=${index}&wait=9m`)
      if (index > 0) this.#blocked.add(name)
      index = await answer
      this.#blocked.delete(name)
      for (const resolve of this.#answered.get(name)?.splice(0) ?? []) resolve()
    }
  }
}

/** From the registration of a service with a proxy of its own to its app's first answer through it; who asks has a proxy already. */
async function overProxies({ proxies, onProgress }: AgentPlan, api: Api): Promise<Growth> {
  const app = net.createServer(socket => socket.pipe(socket).on('error', () => {}))
  app.listen(0, '127.0.0.1')
  await once(app, 'listening')
  const { port: appPort } = app.address() as net.AddressInfo
  const points: [number, number][] = []
  try {
    const ports: number[] = []
    while (ports.length < proxies) ports.push(portOf(await freeAddress()))
    const Upstreams = ports.map((LocalBindPort, at) => ({ DestinationName: `new-${at}`, LocalBindPort }))
    await api.register({ Name: 'asking', Port: 1, Connect: { Proxy: { Upstreams } } })
    await Promise.all(ports.map(listens))
    for (const [at, port] of ports.entries()) {
      onProgress(`managed proxy ${at + 1}`)
      const begun = performance.now()
      await api.register({ Name: `new-${at}`, Port: appPort, Connect: { Proxy: {} } })
      while (!(await answers(port))) await wait(retryMs)
      points.push([at + 1, performance.now() - begun])
    }
  } finally {
    app.close()
  }
  return { of: 'register to the first byte through a new managed proxy', unit: 'ms', over: 'proxy', points }
}

async function listens(port: number): Promise<void> {
  for (;;) {
    const socket = net.connect(port, '127.0.0.1')
    const open = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (open) return
    await wait(retryMs)
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write('x'))
    const end = (answered: boolean) => {
      socket.destroy()
      resolve(answered)
    }
    socket
      .once('data', () => end(true))
      .once('end', () => end(false))
      .once('error', () => end(false))
  })
}
