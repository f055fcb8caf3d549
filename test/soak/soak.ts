// A soak: so many connections a second, so many live, for so long, with faults. `node test/soak/soak.ts [seconds [connections a second
// [live [data plane]]]]`; 300 100 500 native where nothing else is said. What it prints last are its figures; it fails where one is wrong.
import type net from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Address } from '../../src/address.ts'
import { ask, forkSidecars } from './ask.ts'
import type { Ended, Figures, FromSidecars, ToSidecars } from './sidecars.ts'
import { client, numbers, openBreakingNetwork, openSoakApp, pick } from './world.ts'

export interface SoakOptions {
  readonly seconds: number
  readonly perSecond: number
  readonly live: number
  readonly dataPlane: string
  readonly seed?: number
  readonly say?: (line: string) => void
}

export interface SoakResult {
  readonly connections: number
  readonly wrong: readonly string[]
  readonly before: Figures
  /** Under load, the middle by what is resident: of the tenth behind the first fifth of the time, and of the last tenth. */
  readonly early: Figures
  readonly late: Figures
  readonly after: Figures
  readonly closedPairs: number
  /** Sessions that one sidecar says were closed cleanly, and the other doesn't, or not with the same bytes. */
  readonly unequal: readonly string[]
  readonly reasons: Readonly<Record<string, number>>
  readonly bytes: number
}

const leastBytes = 20_000
// Without a divisor in common: each number comes once before the first comes again.
const differentBytes = 100_000
const step = 7_919
const quietMs = 60_000
const lookMs = 100

export async function soak({
  seconds,
  perSecond,
  live,
  dataPlane,
  seed = 1,
  say = () => {},
}: SoakOptions): Promise<SoakResult> {
  const app = await openSoakApp()
  const child = forkSidecars()
  const records: Record<'a' | 'b', Ended[]> = { a: [], b: [] }
  child.on('message', (message: FromSidecars) => {
    if (message.type === 'ended') records[message.side].push(...message.records)
  })
  const started = await ask(child, { type: 'start', dataPlane, app: addressOf(app) }, 'started')
  const network = await openBreakingNetwork(() => started.inbound)
  await ask(child, { type: 'through', middle: addressOf(network) }, 'ready')
  const figures = () => ask(child, { type: 'figures' }, 'figures')

  const random = numbers(seed)
  const wrong: string[] = []
  const running = new Set<Promise<void>>()
  let connections = 0
  const begin = () => {
    const deed = pick(random)
    const address = deed.startsWith('network') ? started.cut : started.direct
    // Each session's own number of bytes, so that its two records find each other; at all times of the same size on the whole.
    const bytes = leastBytes + ((connections++ * step) % differentBytes)
    const lastsMs = deed === 'exchange' ? (live / perSecond) * 1_000 * (0.5 + random()) : 400
    const one = client(address, deed, { bytes, lastsMs }).then(what => {
      running.delete(one)
      if (what !== '') wrong.push(what)
    })
    running.add(one)
  }
  // A thread pool, a first session: what a process has once and keeps.
  begin()
  await Promise.all(running)
  const before = await quiet(figures)

  const begun = performance.now()
  const looks: { readonly share: number; readonly held: Figures }[] = []
  let lookedAt = 0
  for (;;) {
    const passed = (performance.now() - begun) / 1_000
    if (passed >= seconds) break
    // Behind by more than is live, it does not try to catch up.
    while (connections < passed * perSecond && running.size < live * 2) begin()
    if (passed - lookedAt >= 1) {
      lookedAt = passed
      looks.push({ share: passed / seconds, held: await figures() })
    }
    await delay(10)
  }
  // What waits for a socket comes and goes: of a tenth of the time what is in the middle.
  const between = (from: number, to: number) => {
    const found = looks.filter(({ share }) => share >= from && share < to)
    // A short soak on a busy machine may have none there.
    return middle((found.length > 0 ? found : looks).map(({ held }) => held))
  }
  const early = between(0.2, 0.3)
  const late = between(0.9, 1)
  say(`after ${seconds / 5} s: ${show(early)}`)
  say(`at the end of the load: ${show(late)}, ${running.size} clients`)
  await Promise.all(running)
  const after = await quiet(figures)
  child.send({ type: 'stop' } satisfies ToSidecars)
  await new Promise(resolve => child.once('exit', resolve))
  for (const server of [app, network]) server.close()
  return {
    connections,
    wrong,
    before,
    early,
    late,
    after,
    ...compared(records.a, records.b),
    reasons: counted([
      ...records.a.map(({ reason }) => `a ${reason}`),
      ...records.b.map(({ reason }) => `b ${reason}`),
    ]),
    bytes: records.a.reduce((sum, record) => sum + record.bytesToUpstream + record.bytesToDownstream, 0),
  }
}

function compared(a: readonly Ended[], b: readonly Ended[]): Pick<SoakResult, 'closedPairs' | 'unequal'> {
  const keyed = (records: readonly Ended[]) =>
    records
      .filter(({ reason }) => reason === 'closed')
      .map(
        ({ bytesToUpstream, bytesToDownstream, relay }) => `${bytesToUpstream} ${bytesToDownstream} ${relay}`,
      )
  // Each of theirs is the other half of one of ours: a size comes again where there are more sessions than sizes.
  const left = counted(keyed(b))
  const alone: string[] = []
  let closedPairs = 0
  for (const key of keyed(a)) {
    const there = left[key] ?? 0
    left[key] = there - 1
    if (there > 0) closedPairs++
    else alone.push(`a ${key}`)
  }
  const theirs = Object.entries(left).filter(([, count]) => count > 0)
  return { closedPairs, unequal: [...alone, ...theirs.map(([key, count]) => `b ${key}, ${count} times`)] }
}

/** By what is resident, the one in the middle. */
function middle(looks: readonly Figures[]): Figures {
  const sorted = looks.toSorted((one, other) => one.residentBytes - other.residentBytes)
  const found = sorted[sorted.length >> 1]
  if (found === undefined) throw new Error('too short to be looked at')
  return found
}

function counted(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}

/** Waits until no session lives and no descriptor goes any more: legs linger. */
async function quiet(figures: () => Promise<Figures>): Promise<Figures> {
  const deadlineAt = performance.now() + quietMs
  let last = await figures()
  let same = 0
  while (performance.now() < deadlineAt && same < 30) {
    await delay(lookMs)
    const now = await figures()
    same = now.live === 0 && now.descriptors === last.descriptors ? same + 1 : 0
    last = now
  }
  return last
}

function addressOf(server: net.Server): Address {
  return { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port }
}

export function show({ descriptors, threads, residentBytes, heapBytes, ownedBytes, live }: Figures): string {
  const mebibytes = (bytes: number) => (bytes / 1_048_576).toFixed(1)
  const memory = `${mebibytes(residentBytes)} MiB resident (JavaScript's heap ${mebibytes(heapBytes)}, sessions' own ${mebibytes(ownedBytes)})`
  return `${descriptors} descriptors, ${threads} threads, ${memory}, ${live} sessions`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [seconds = 300, perSecond = 100, live = 500] = process.argv.slice(2, 5).map(Number)
  const say = (line: string) => process.stdout.write(`${line}\n`)
  const result = await soak({ seconds, perSecond, live, dataPlane: process.argv[5] ?? 'native', say })
  const { before, after, wrong, unequal, connections, closedPairs, reasons, bytes } = result
  say(
    `${connections} connections in ${seconds} s, ${(bytes / 1e9).toFixed(2)} GB; before: ${show(before)}; after: ${show(after)}`,
  )
  say(
    `${closedPairs} clean pairs, ${unequal.length} unequal ${unequal.slice(0, 5)}; ${wrong.length} wrong ${wrong.slice(0, 10)}`,
  )
  say(JSON.stringify(reasons))
  const kept = after.descriptors > before.descriptors || after.threads > before.threads
  process.exitCode = wrong.length > 0 || unequal.length > 0 || kept ? 1 : 0
}
