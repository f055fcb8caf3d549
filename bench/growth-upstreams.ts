// What a sidecar costs that knows many upstream services: memory, its start, and taking up a change of one endpoint.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { benchId } from '../src/bench/identities.ts'
import { freeAddress } from '../src/bench/ports.ts'
import { ProxyProcess } from '../src/bench/process.ts'
import { memory } from '../src/bench/usage.ts'
import type { World } from './chain.ts'
import type { Growth, GrowthPlan } from './growth.ts'
import { portOf } from './peer.ts'
import { bin } from './peers/sidesplice.ts'

const endpointsEach = 10
const changes = 5
const changeLimitMs = 20_000
const lookEveryMs = 2

export async function measureUpstreams(
  { upstreams, onProgress }: GrowthPlan,
  world: World,
): Promise<readonly Growth[]> {
  const start: [number, number][] = []
  const held: [number, number][] = []
  const change: [number, number][] = []
  for (const count of upstreams) {
    onProgress(`${count} upstreams`)
    const { readyMs, rssMb, changeMs } = await measureOne(count, world)
    start.push([count, readyMs])
    held.push([count, rssMb])
    change.push([count, changeMs])
  }
  const over = `upstreams of ${endpointsEach} endpoints`
  return [
    { of: 'start to ready', unit: 'ms', over, points: start },
    { of: 'memory (RSS)', unit: 'MB', over, points: held },
    { of: 'a change of one endpoint, until it is applied', unit: 'ms', over, points: change },
  ]
}

interface Upstream {
  readonly destination_name: string
  readonly local_bind_port: number
  readonly expect: readonly string[]
  endpoints: readonly string[]
}

async function measureOne(count: number, { folder, identities }: World) {
  const file = join(folder, `${count}.json`)
  const log = join(folder, `${count}.log`)
  const { cert, key, ca } = identities.web
  const upstreams: Upstream[] = []
  for (let at = 0; at < count; at++)
    upstreams.push({
      destination_name: `service-${at}`,
      local_bind_port: portOf(await freeAddress()),
      endpoints: Array.from(
        { length: endpointsEach },
        (_, one) => `10.${at >> 8}.${at & 255}.${one + 1}:20000`,
      ),
      expect: [benchId(`service-${at}`)],
    })
  const write = () =>
    writeFileSync(
      file,
      JSON.stringify({
        service: 'web',
        identity: { cert_file: cert, key_file: key, ca_file: ca },
        upstreams,
        drain: 0,
      }),
    )
  write()
  const sidecar = await ProxyProcess.start({
    command: process.execPath,
    args: [bin, 'proxy', '--config', file],
    env: { SIDESPLICE_DATA_PLANE: '' },
    listens: `127.0.0.1:${upstreams[0]?.local_bind_port}`,
    readyText: ' ready ',
    log,
  })
  try {
    const rssMb = (memory(sidecar.pid).rss * 1_024) / 1e6
    const times: number[] = []
    for (let number = 0; number < changes; number++) {
      const first = upstreams[0]
      if (first !== undefined) first.endpoints = [`10.200.0.${number + 1}:20000`]
      const applied = appliedIn(log)
      write()
      const begun = performance.now()
      sidecar.child.kill('SIGHUP')
      while (appliedIn(log) === applied) {
        if (performance.now() - begun > changeLimitMs)
          throw new Error(`a change of ${count} upstreams is not applied`)
        await wait(lookEveryMs)
      }
      times.push(performance.now() - begun)
    }
    const sorted = times.toSorted((one, other) => one - other)
    return { readyMs: sidecar.readyMs, rssMb, changeMs: sorted[Math.floor(changes / 2)] ?? 0 }
  } finally {
    await sidecar.stop()
  }
}

function appliedIn(log: string): number {
  return readFileSync(log, 'utf8').split(' configuration applied').length
}
