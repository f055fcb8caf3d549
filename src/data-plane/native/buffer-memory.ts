// How much sessions may own together while they wait for sockets, where nobody says.
import { totalmem } from 'node:os'

// The rest is the kernel's socket buffers, which take several times as much for the same sessions, and everything else that runs.
const share = 8
const least = 64 * 1024 * 1024

/** An eighth of the memory that the process may use: its cgroup's, else the machine's. */
export function defaultBufferMemory(
  memory = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
): number {
  return Math.max(least, Math.floor(memory / share))
}
