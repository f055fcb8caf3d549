// Connections that we have opened, to know one that comes back to a listener of ours: each would open the next, round and round,
// until no descriptor is left. Endpoints are what a catalog says, by whatever name leads here.
import type { Socket } from 'node:net'

export class OwnDials {
  readonly #open = new Set<string>()

  /** One that stands, until it closes. */
  note(dialed: Socket): void {
    const { localAddress, localPort, remoteAddress, remotePort } = dialed
    // A unix socket has no address of its own end.
    if (localPort === undefined) return
    const key = keyOf([localAddress, localPort], [remoteAddress, remotePort])
    this.#open.add(key)
    dialed.once('close', () => this.#open.delete(key))
  }

  /** Whether this one was opened here. Known once the loop has told of both ends: a turn after it was accepted. */
  has({ localAddress, localPort, remoteAddress, remotePort }: Socket): boolean {
    return (
      remotePort !== undefined &&
      this.#open.has(keyOf([remoteAddress, remotePort], [localAddress, localPort]))
    )
  }
}

type Place = readonly [address: string | undefined, port: number | undefined]

/** Both ends: a port of this side alone may be in use towards several. */
function keyOf(from: Place, to: Place): string {
  return [from, to].map(([address = '', port]) => `${unmapped(address)} ${port}`).join(' ')
}

/** An IPv4 address as such, also where a socket of IPv6 names it. */
function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=[0-9.]+$)/i, '')
}
