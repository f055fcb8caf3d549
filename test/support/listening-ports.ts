// The TCP ports of this machine that something listens on, by /proc/net/tcp.
import { readFileSync } from 'node:fs'

// proc(5): the state of a socket that listens.
const listens = '0A'

export function listeningPorts(): readonly number[] {
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap(file =>
    readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .slice(1)
      .map(line => line.trim().split(/\s+/))
      .filter(fields => fields[3] === listens)
      .map(([, local = '']) => Number.parseInt(local.split(':')[1] ?? '0', 16)),
  )
}
