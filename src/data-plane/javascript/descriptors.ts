// Whether the process can afford the descriptors of one more session. Past its limit the kernel's answer comes too late:
// libuv then accepts and closes connections by itself, without a word.
import { readFileSync } from 'node:fs'

const perSession = 2
// Logs, watches, admin connections, listeners, the loop's own.
const headroom = 64

let limit: number | undefined

export function hasDescriptorsFor(sessions: number): boolean {
  limit ??= softLimit()
  return sessions * perSession + headroom <= limit
}

/**
 * Whether there is room for one more connection of a peer that has not been admitted. These may have half of what there is: who
 * proves nothing must not keep the local app from its upstreams.
 */
export function hasDescriptorsForStrangers(strangers: number): boolean {
  limit ??= softLimit()
  return strangers * perSession * 2 + headroom <= limit
}

/** RLIMIT_NOFILE's soft limit (proc(5), /proc/pid/limits); none where the system does not say. */
function softLimit(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
