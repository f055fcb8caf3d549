// Many sidecars on one host, none with a session: what each of them holds when shared pages are counted to all who share them.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { ProxyProcess } from '../src/bench/process.ts'
import { memory } from '../src/bench/usage.ts'
import type { World } from './chain.ts'
import { native } from './peers/sidesplice.ts'
import type { Measurement } from './results.ts'

// What a start leaves behind is collected and given back by then.
const settleMs = 5_000

export async function measureFleet(count: number, { folder, app, identities }: World): Promise<Measurement> {
  const running: ProxyProcess[] = []
  try {
    while (running.length < count) {
      const own = join(folder, `fleet-${running.length}`)
      await mkdir(own, { recursive: true })
      const { a, b } = await native.open({ folder: own, app, identities, forMemory: false })
      for (const spec of [b, a]) if (spec !== undefined) running.push(await ProxyProcess.start(spec))
    }
    await wait(settleMs)
    const held = running.map(({ pid }) => memory(pid))
    const mean = (name: 'rss' | 'pss' | 'uss') =>
      (held.reduce((sum, one) => sum + one[name], 0) / held.length) * (1024 / 1e6)
    return {
      values: { sidecars: running.length, rssMb: mean('rss'), pssMb: mean('pss'), ussMb: mean('uss') },
    }
  } finally {
    await Promise.all(running.map(one => one.stop()))
  }
}
