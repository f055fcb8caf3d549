// Ports for tests: those that another test file, the agents' own ranges or an outgoing connection might take are given to nobody.
import net from 'node:net'
import type { Address } from '../../src/address.ts'

// Below the range from which Linux takes ports for outgoing connections.
const [firstPort, endPort] = [12_000, 32_600]
const blockSize = 200
const blocks = Math.floor((endPort - firstPort) / blockSize)
// What an agent takes by itself for proxies: https://www.consul.io/docs/agent/options (proxy_min_port, sidecar_min_port).
const agentsOwn = [
  { first: 20_000, last: 20_255 },
  { first: 21_000, last: 21_255 },
]

// Where this process looks first: any place, so that ports of a process that has just ended are not the next one's.
let nextBlock = Math.floor(Math.random() * blocks)
let left: { next: number; readonly end: number } = { next: 0, end: 0 }

/** An address that nothing listens on, that no other call of any test gives, and that no outgoing connection will take. */
export async function freePort(host = '127.0.0.1'): Promise<Address> {
  for (;;) {
    const { first: port } = await freePortRange(1)
    if (await isFree({ host, port })) return { host, port }
  }
}

/**
 * As many ports after one another, each as {@link freePort} gives them, but that something of this machine may listen on one.
 * @param count {@link blockSize} at most
 */
export async function freePortRange(
  count: number,
): Promise<{ readonly first: number; readonly last: number }> {
  if (count > blockSize) throw new Error(`free ports: got ${count}, expected ${blockSize} at most`)
  for (let tried = 0; left.next + count > left.end; tried++) {
    if (tried > blocks) throw new Error(`free ports: all ${blocks} blocks of ${blockSize} are taken`)
    await takeBlock()
  }
  const first = left.next
  left.next += count
  return { first, last: first + count - 1 }
}

async function takeBlock(): Promise<void> {
  const block = nextBlock++ % blocks
  const first = firstPort + block * blockSize
  const end = first + blockSize
  if (agentsOwn.some(range => first <= range.last && range.first < end)) return
  // unix(7): a name of the abstract namespace is one socket's alone, and free again when its process ends, however it does.
  const claim = net.createServer().unref()
  const claimed = await listens(claim, `\0sidesplice-test-ports-${block}`)
  if (claimed) left = { next: first, end }
}

async function isFree(address: Address): Promise<boolean> {
  const server = net.createServer()
  if (!(await listens(server, address))) return false
  await new Promise(resolve => server.close(resolve))
  return true
}

function listens(server: net.Server, at: string | Address): Promise<boolean> {
  return new Promise(resolve => {
    server.once('error', () => resolve(false)).once('listening', () => resolve(true))
    if (typeof at === 'string') server.listen(at)
    else server.listen(at)
  })
}
