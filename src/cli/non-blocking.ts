// A descriptor that writes without ever blocking the loop, for standard output and standard error.
import { constants, fstatSync, openSync } from 'node:fs'
import { Socket } from 'node:net'

// Kept for the life of the process: closing it would close the descriptor.
const keptSockets: Socket[] = []

/**
 * A descriptor that leads where `fd` does and fails with EAGAIN where a write would block.
 *
 * Pipes and terminals are opened once more, since O_NONBLOCK belongs to the open file and would otherwise reach every process
 * that shares it. A socket (journald's) can't be opened again, nor can a pipe that another user made (a supervisor that starts
 * the sidecar without its rights): those are switched as they are. Files do not block, and keep their offset.
 */
export function nonBlocking(fd: number): number {
  const kind = fstatSync(fd)
  if (kind.isSocket()) return switched(fd)
  if (!kind.isFIFO() && !kind.isCharacterDevice()) return fd
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY)
  } catch {
    // A terminal of another user, or no /proc: then a reader that stops can stop us, as it can any program.
    return kind.isFIFO() ? switched(fd) : fd
  }
}

/** Node sets O_NONBLOCK on the descriptor of a socket or pipe that it takes over. */
function switched(fd: number): number {
  keptSockets.push(new Socket({ fd, readable: false, writable: true }))
  return fd
}
