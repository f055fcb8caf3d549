// Ports for the demonstration: the same each time where they are free, so that the README's lines can be typed.
import { createServer } from 'node:net'
import type { Address } from '../../address.ts'

const host = '127.0.0.1'

export async function freePort(preferred: number): Promise<Address> {
  return { host, port: (await tryPort(preferred)) ?? (await tryPort(0)) ?? preferred }
}

/** The port, or the one that the kernel chose for 0; undefined where it is taken. */
function tryPort(port: number): Promise<number | undefined> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, host, () => {
      const bound = server.address()
      server.close(() => resolve(typeof bound === 'object' && bound !== null ? bound.port : undefined))
    })
  })
}
