// Ports for chains: below the range that Linux takes those of outgoing connections from, of which a bench makes thousands.
import { createServer } from 'node:net'

const first = 12_000
const count = 20_000
let next = Math.floor(Math.random() * count)

/** `127.0.0.1:PORT` that nothing listens on, and that no other call gives. */
export async function freeAddress(): Promise<string> {
  for (;;) {
    const port = first + (next++ % count)
    const server = createServer()
    const free = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (free) return `127.0.0.1:${port}`
  }
}
