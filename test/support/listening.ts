// What a process listens on, as the kernel has it.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

// include/net/tcp_states.h
const listenState = '0A'

/** Local ports of the process's listening TCP sockets: proc(5), /proc/pid/net/tcp and the socket inodes of its descriptors. */
export function listeningPorts(pid: number): readonly number[] {
  const own = new Set(
    readdirSync(`/proc/${pid}/fd`).flatMap(fd => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`).match(/^socket:\[(\d+)\]$/)?.[1] ?? []
      } catch {
        // Closed between the two calls.
        return []
      }
    }),
  )
  return ['tcp', 'tcp6']
    .flatMap(table => readFileSync(`/proc/${pid}/net/${table}`, 'utf8').trim().split('\n').slice(1))
    .map(line => line.trim().split(/\s+/))
    .filter(fields => fields[3] === listenState && own.has(fields[9] ?? ''))
    .map(fields => Number.parseInt(fields[1]?.split(':')[1] ?? '', 16))
    .toSorted((one, other) => one - other)
}
