// What no TLS is spoken on: the app alone, and the least that two relays can cost.
import { join } from 'node:path'
import { loadProgram } from '../../src/bench/load.ts'
import { freeAddress } from '../../src/bench/ports.ts'
import type { Peer } from '../peer.ts'

export const direct: Peer = {
  name: 'direct',
  title: 'no proxy',
  kind: 'plain',
  holdsIdle: false,
  missing: () => undefined,
  version: () => 'the app alone',
  open: async ({ app }) => ({ to: app }),
}

export const floor: Peer = {
  name: 'floor',
  title: 'the floor, without TLS',
  kind: 'plain',
  holdsIdle: false,
  missing: () => undefined,
  version: () => 'two threads a connection, reads of 256 KiB',
  open: async ({ folder, app }) => {
    const [to, between] = [await freeAddress(), await freeAddress()]
    const relay = (name: string, listens: string, target: string) => ({
      command: loadProgram(),
      args: ['relay', '--listen', listens, '--to', target],
      listens,
      log: join(folder, `${name}.log`),
    })
    return { to, a: relay('a', to, between), b: relay('b', between, app), bAddress: between }
  },
}
