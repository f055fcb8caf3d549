// A TCP relay to stand between two sidecars: it sees the records' outside and can cut, as a network does.
import net, { type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { Address } from '../../src/address.ts'
import { reset } from './ends.ts'

const keptBytes = 16 * 1024

export interface Crossing {
  readonly towardsDialer: Socket
  readonly towardsTarget: Socket
  /** What the target sent at first, so much of it as holds its first flight. */
  readonly answer: () => Buffer
}

export interface Middle {
  readonly address: Address
  readonly crossings: Crossing[]
  /** Ends the TCP connections of a crossing without a word of TLS: by FIN on both legs, or by RST. */
  cut(crossing: Crossing | undefined, how: 'fin' | 'rst'): void
}

export async function openMiddle(t: TestContext, target: Address): Promise<Middle> {
  const crossings: Crossing[] = []
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, towardsDialer => {
    const towardsTarget = net.connect({ ...target, allowHalfOpen: true, noDelay: true })
    for (const socket of [towardsDialer, towardsTarget]) socket.on('error', () => {})
    towardsDialer.pipe(towardsTarget)
    towardsTarget.pipe(towardsDialer)
    let kept = Buffer.alloc(0)
    towardsTarget.on('data', (chunk: Buffer) => {
      if (kept.length < keptBytes) kept = Buffer.concat([kept, chunk])
    })
    crossings.push({ towardsDialer, towardsTarget, answer: () => kept })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    for (const crossing of crossings) for (const socket of both(crossing)) socket.destroy()
  })
  return {
    address: { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port },
    crossings,
    cut(crossing, how) {
      if (crossing === undefined) throw new Error('nothing to cut')
      for (const socket of both(crossing)) {
        socket.unpipe()
        if (how === 'rst') reset(socket)
        else socket.end()
      }
    },
  }
}

function both({ towardsDialer, towardsTarget }: Crossing): readonly Socket[] {
  return [towardsDialer, towardsTarget]
}
