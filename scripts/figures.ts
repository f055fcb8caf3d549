// What a chain of two sidecars costs on this machine, for each data plane, in turn: one stream up, and sessions that are idle.
// node scripts/figures.ts [rounds] [megabytes] [sessions]
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { issueCertificate } from '../src/identity/issue.ts'

const [rounds = 5, megabytes = 2_000, idle = 8_000] = process.argv.slice(2).map(Number)
const planes = ['native', 'javascript'] as const
const folder = mkdtempSync(join(tmpdir(), 'sidesplice-figures-'))
const tell = (line: string) => process.stdout.write(`${line}\n`)
const bin = new URL('../bin/sidesplice.cjs', import.meta.url).pathname

interface Chain {
  readonly web: ChildProcess
  readonly db: ChildProcess
  readonly port: number
}

const root = await issueCertificate({ commonName: 'root', ca: true, uris: ['spiffe://figures.test'] })
const id = (service: string) => `spiffe://figures.test/ns/default/dc/dc1/svc/${service}`
writeFileSync(join(folder, 'ca.pem'), root.certPem)
for (const service of ['web', 'db']) {
  const leaf = await issueCertificate({ commonName: service, issuer: root, uris: [id(service)] })
  writeFileSync(join(folder, `${service}.pem`), leaf.chainPem)
  writeFileSync(join(folder, `${service}.key`), leaf.keyPem, { mode: 0o600 })
}

let received = 0
const held: Socket[] = []
const app = net.createServer(socket => {
  held.push(socket)
  socket
    .on('error', () => {})
    .on('data', data => {
      received += data.length
    })
  socket.on('end', () => socket.end())
})
await new Promise<void>(resolve => app.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, resolve))

try {
  await throughput()
  await memory()
} finally {
  rmSync(folder, { recursive: true, force: true })
  app.close()
}
process.exit()

async function throughput(): Promise<void> {
  tell(`one stream up, ${megabytes} MB, ${rounds} rounds in turn, Node ${process.versions.node}`)
  const results = new Map(planes.map(plane => [plane, { gbits: [] as number[], cpu: [] as number[] }]))
  for (let round = 0; round < rounds; round++) {
    for (const plane of planes.toSorted(() => Math.random() - 0.5)) {
      const chain = await startChain(plane)
      await push(chain.port, 100)
      const [before, begun] = [cpuSeconds(chain), performance.now()]
      await push(chain.port, megabytes)
      const seconds = (performance.now() - begun) / 1000
      results.get(plane)?.gbits.push((megabytes * 8) / 1000 / seconds)
      results.get(plane)?.cpu.push((cpuSeconds(chain) - before) / (megabytes / 1000))
      await stopChain(chain)
    }
  }
  for (const [plane, { gbits, cpu }] of results)
    tell(`  ${plane}: ${spread(gbits)} Gbit/s, ${spread(cpu)} CPU-seconds a GB for both hops`)
}

async function memory(): Promise<void> {
  tell(`memory of the busier proxy for ${idle} idle sessions`)
  for (const plane of planes) {
    const chain = await startChain(plane)
    await push(chain.port, 1)
    const before = await settledUss(chain)
    const clients: Socket[] = []
    const already = received
    for (let at = 0; at < idle; at += 50) {
      const some = Array.from({ length: 50 }, () => net.connect(chain.port, '127.0.0.1'))
      await Promise.all(some.map(socket => once(socket, 'connect')))
      for (const socket of some) socket.on('error', () => {}).write('x')
      clients.push(...some)
      // Each has said a byte: the session stands once the app has it.
      while (received < already + clients.length) await new Promise(resolve => setTimeout(resolve, 5))
    }
    const after = await settledUss(chain)
    const each = after.map((kib, at) => ((kib - (before[at] ?? 0)) * 1024) / clients.length)
    tell(`  ${plane}: ${Math.round(Math.max(...each))} bytes a session (${clients.length} live)`)
    for (const socket of clients) socket.destroy()
    await stopChain(chain)
  }
}

async function startChain(plane: string): Promise<Chain> {
  const [publicPort, port] = [await freePort(), await freePort()]
  const common = (service: string) => ({
    service,
    identity: { cert_file: `${service}.pem`, key_file: `${service}.key`, ca_file: 'ca.pem' },
    data_plane: plane,
    access_log: 'errors',
    drain: 0,
    handshake_timeout_ms: 60_000,
    connect_timeout_ms: 60_000,
  })
  const db = await start('db', {
    ...common('db'),
    inbound: {
      listen: `127.0.0.1:${publicPort}`,
      local_service_address: `127.0.0.1:${(app.address() as AddressInfo).port}`,
      allow: [id('web')],
    },
    local_connect_timeout_ms: 20_000,
  })
  const web = await start('web', {
    ...common('web'),
    upstreams: [
      {
        destination_name: 'db',
        local_bind_port: port,
        endpoints: [`127.0.0.1:${publicPort}`],
        expect: [id('db')],
      },
    ],
  })
  return { web, db, port }
}

async function start(service: string, config: object): Promise<ChildProcess> {
  const file = join(folder, `${service}.json`)
  writeFileSync(file, JSON.stringify(config))
  const collect = "data:text/javascript,process.on('SIGUSR2',()=>{gc();gc()})"
  const child = spawn(
    process.execPath,
    ['--expose-gc', '--import', collect, bin, 'proxy', '--config', file],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  for await (const line of child.stdout ?? []) if (`${line}`.includes(' ready ')) break
  child.stdout?.resume()
  return child
}

async function stopChain({ web, db }: Chain): Promise<void> {
  for (const child of [web, db]) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

async function push(port: number, amount: number): Promise<void> {
  const target = received + amount * 1e6
  const socket = net.connect(port, '127.0.0.1')
  socket.on('error', () => {})
  const chunk = Buffer.alloc(1e6, 'x')
  for (let at = 0; at < amount; at++) if (!socket.write(chunk)) await once(socket, 'drain')
  socket.end()
  while (received < target) await new Promise(resolve => setTimeout(resolve, 2))
}

/** User and system time of both, seconds (proc(5), /proc/pid/stat, in ticks of a hundredth). */
function cpuSeconds({ web, db }: Chain): number {
  return [web, db].reduce((sum, child) => {
    const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return sum + (Number(fields[11]) + Number(fields[12])) / 100
  }, 0)
}

/** Behind a garbage collection and the native data plane's own malloc_trim. */
async function settledUss({ web, db }: Chain): Promise<readonly number[]> {
  for (const child of [web, db]) child.kill('SIGUSR2')
  await new Promise(resolve => setTimeout(resolve, 4_000))
  for (const child of [web, db]) child.kill('SIGUSR2')
  await new Promise(resolve => setTimeout(resolve, 500))
  return [web, db].map(ussKiB)
}

/** Unique set size (proc(5), smaps_rollup). */
function ussKiB(child: ChildProcess): number {
  const text = readFileSync(`/proc/${child.pid}/smaps_rollup`, 'utf8')
  return [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+)/gm)].reduce(
    (sum, [, kib]) => sum + Number(kib),
    0,
  )
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function spread(values: number[]): string {
  const sorted = values.toSorted((one, other) => one - other)
  const at = (share: number) => (sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(2)
  return `${at(0.5)} (${at(0)} to ${at(1)})`
}
