// Bytes stay out of JavaScript: live sessions move theirs at their rate while the JavaScript thread stands still, and cost it nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { native } from '../support/data-planes.ts'
import { openRig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const whileMs = 5_000
const megabyte = 1024 * 1024

native('bytes beside a stalled JavaScript thread', plane => {
  test('live sessions move on, and a connection begun meanwhile succeeds', async t => {
    const shared = new SharedArrayBuffer(8)
    const counted = new BigInt64Array(shared)
    const world = new Worker(new URL('../support/pump-world.ts', import.meta.url), { workerData: shared })
    t.after(async () => {
      world.postMessage('stop')
      await new Promise(resolve => world.once('exit', resolve))
    })
    const port = await new Promise<number>(resolve => world.once('message', resolve))
    const rig = await openRig(t, plane)
    rig.b.admits({ host: '127.0.0.1', port })
    world.postMessage(rig.address)
    await until(() => Atomics.load(counted, 0) > BigInt(megabyte), 'the session to run')

    const moved = () => Number(Atomics.load(counted, 0))
    const before = moved()
    const cpu = process.threadCpuUsage?.()
    // Accepted while nobody can say where to.
    world.postMessage(rig.address)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, whileMs)
    const during = moved() - before
    // Far below what either sidecar moves, far above what was under way when it began.
    assert.ok(during > 32 * megabyte, `${Math.round(during / megabyte)} MiB`)
    const used = process.threadCpuUsage?.(cpu)
    if (used !== undefined) assert.ok(used.user + used.system < whileMs * 100, JSON.stringify(used))
    await until(
      () => rig.b.plane.sessions().filter(session => session.bytesToUpstream > 0).length === 2,
      'both',
    )
    assert.deepEqual([...rig.a.records, ...rig.b.records], [])
  })
})
