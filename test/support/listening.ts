// What a process listens on and is connected to, as the kernel has it.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

// include/net/tcp_states.h
const establishedState = '01'
const listenState = '0A'

interface TcpSocket {
  readonly state: string
  readonly localPort: number
  readonly remotePort: number
}

export function listeningPorts(pid: number): readonly number[] {
  return tcpSockets(pid)
    .filter(({ state }) => state === listenState)
    .map(({ localPort }) => localPort)
    .toSorted((one, other) => one - other)
}

/** How many connections the process has to a port, of whatever host. */
export function connectionsTo(pid: number, port: number): number {
  return tcpSockets(pid).filter(({ state, remotePort }) => state === establishedState && remotePort === port)
    .length
}

/** The process's own TCP sockets: proc(5), /proc/pid/net/tcp and the socket inodes of its descriptors. */
function tcpSockets(pid: number): readonly TcpSocket[] {
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
    .filter(fields => own.has(fields[9] ?? ''))
    .map(([, local, remote, state = '']) => ({ state, localPort: portOf(local), remotePort: portOf(remote) }))
}

function portOf(address = ''): number {
  return Number.parseInt(address.split(':')[1] ?? '', 16)
}
