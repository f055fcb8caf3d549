// Loaded before the command (--import): tells over the IPC channel what the process holds, timers that keep nothing alive included.
import { createHook } from 'node:async_hooks'

export interface HeldInside {
  readonly timers: number
  /** By kind, as process.getActiveResourcesInfo() names them; timers are counted apart. */
  readonly resources: Readonly<Record<string, number>>
  readonly heapBytes: number
  readonly residentBytes: number
}

// getActiveResourcesInfo leaves out what is unref'd.
const timers = new Set<number>()
createHook({
  init(id, type) {
    if (type === 'Timeout') timers.add(id)
  },
  destroy(id) {
    timers.delete(id)
  },
}).enable()

process.on('message', () => {
  // Twice: what a finalizer lets go of is collected the second time.
  globalThis.gc?.()
  setImmediate(() => {
    globalThis.gc?.()
    const resources: Record<string, number> = {}
    for (const kind of process.getActiveResourcesInfo()) {
      if (kind !== 'Timeout' && kind !== 'Immediate') resources[kind] = (resources[kind] ?? 0) + 1
    }
    const { heapUsed, rss } = process.memoryUsage()
    const held: HeldInside = { timers: timers.size, resources, heapBytes: heapUsed, residentBytes: rss }
    process.send?.(held)
  })
})
// The command ends when its own work does.
process.channel?.unref()
