// The TCP sockets of this machine, by /proc/net/tcp: which ports something listens on, and how many connections a port has.
import { readFileSync } from 'node:fs'

// proc(5): the states of a socket that listens, and of a connection that stands.
const [listens, established] = ['0A', '01']

export function listeningPorts(): readonly number[] {
  return sockets(listens).map(({ local }) => local)
}

/** Counted at the ends that opened them. */
export function connectionsTo(port: number): number {
  return sockets(established).filter(({ remote }) => remote === port).length
}

function sockets(state: string): readonly { readonly local: number; readonly remote: number }[] {
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap(file =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map(line => line.trim().split(/\s+/))
      .filter(fields => fields[3] === state)
      .map(([, local = '', remote = '']) => ({ local: portOf(local), remote: portOf(remote) })),
  )
}

function portOf(address: string): number {
  return Number.parseInt(address.split(':')[1] ?? '0', 16)
}
