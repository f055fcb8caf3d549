// The apps of a soak: an upstream app, clients that each do one of a few things, and a network between the sidecars that breaks.
import { createHash } from 'node:crypto'
import net, { type Socket } from 'node:net'
import type { Address } from '../../src/address.ts'
import { reset } from '../support/ends.ts'

export const deeds = [
  'exchange',
  'half-close',
  'client reset',
  'app reset',
  'network reset',
  'network cut',
] as const
export type Deed = (typeof deeds)[number]

/** What each client does, in shares of a hundred. */
const shares: Readonly<Record<Deed, number>> = {
  exchange: 60,
  'half-close': 15,
  'client reset': 8,
  'app reset': 8,
  'network reset': 5,
  'network cut': 4,
}

const block = Buffer.alloc(64 * 1024)
for (let at = 0; at < block.length; at++) block[at] = (at * 31 + (at >> 8)) & 0xff
const headBytes = 8
const rounds = 4

/** A generator of numbers in [0, 1) that the seed decides (mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

export function pick(random: () => number): Deed {
  let left = random() * 100
  for (const deed of deeds) {
    left -= shares[deed]
    if (left < 0) return deed
  }
  return 'exchange'
}

/** Sends everything back; resets where the first byte asks for it. */
export function openSoakApp(): Promise<net.Server> {
  return listening(socket => {
    let seen = 0
    socket.on('data', chunk => {
      const asked = seen === 0 && chunk[0] === 1
      seen += chunk.length
      if (asked) setTimeout(() => reset(socket), 20 + (chunk[7] ?? 0))
      if (!socket.write(chunk)) socket.pause()
    })
    socket.on('drain', () => socket.resume()).on('end', () => socket.end())
  })
}

/** Breaks every crossing a while after it began, by turns with an RST and a FIN. */
export function openBreakingNetwork(target: () => Address): Promise<net.Server> {
  let count = 0
  return listening(dialer => {
    const towards = net.connect({ ...target(), allowHalfOpen: true }).on('error', () => {})
    dialer.pipe(towards)
    towards.pipe(dialer)
    const byReset = count++ % 2 === 0
    setTimeout(
      () => {
        for (const socket of [dialer, towards]) {
          socket.unpipe()
          if (byReset) reset(socket)
          else socket.end().resume()
        }
        // Who does not answer the FIN is left.
        setTimeout(() => [dialer, towards].map(socket => socket.destroy()), 2_000)
      },
      50 + (count % 10) * 40,
    )
  })
}

function listening(serve: (socket: Socket) => void): Promise<net.Server> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    socket.on('error', () => {})
    serve(socket)
  })
  return new Promise(resolve =>
    server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => resolve(server)),
  )
}

/** Resolves with what was wrong; with nothing where all went as it has to. */
export function client(
  address: Address,
  deed: Deed,
  { bytes, lastsMs }: { bytes: number; lastsMs: number },
): Promise<string> {
  return new Promise(resolve => {
    const socket = net.connect({ ...address, allowHalfOpen: true, noDelay: true })
    const sent = createHash('sha1')
    const got = createHash('sha1')
    let received = 0
    let error: string | undefined
    const done = (what: string) => {
      socket.destroy()
      resolve(what)
    }
    const write = (chunk: Buffer) => {
      sent.update(chunk)
      socket.write(chunk)
    }
    socket.on('data', chunk => {
      received += chunk.length
      got.update(chunk)
    })
    socket.on('error', (failure: NodeJS.ErrnoException) => {
      error ??= failure.code ?? failure.message
    })
    const broken = deed === 'app reset' || deed.startsWith('network')
    socket.on('end', () => {
      if (broken) return done(`${deed}: a clean end`)
      done(
        received === bytes && sent.digest('hex') === got.digest('hex')
          ? ''
          : `${deed}: ${received} of ${bytes}`,
      )
    })
    socket.on('close', () => {
      if (deed === 'client reset') return done('')
      done(broken && error !== undefined ? '' : `${deed}: ${error ?? 'closed'} at ${received} of ${bytes}`)
    })
    const head = Buffer.alloc(headBytes)
    head[0] = deed === 'app reset' ? 1 : 0
    head[7] = bytes & 0xff
    write(head)
    const rest = bytes - headBytes
    const part = Math.floor(rest / rounds)
    let round = 0
    const speak = () => {
      if (socket.destroyed) return
      round++
      const now = round === rounds ? rest - part * (rounds - 1) : part
      for (let left = now; left > 0; left -= block.length)
        write(block.subarray(0, Math.min(left, block.length)))
      if (deed === 'client reset' && round === 2) return reset(socket)
      if (round < rounds) setTimeout(speak, lastsMs / rounds)
      else if (!broken) socket.end()
    }
    if (deed === 'half-close') {
      // All at once, and the end with it; the answer comes behind.
      for (let left = rest; left > 0; left -= block.length)
        write(block.subarray(0, Math.min(left, block.length)))
      socket.end()
    } else setTimeout(speak, lastsMs / rounds)
  })
}
