// Unmodified applications: their servers as children that do not outlive the tests, their clients run to the end, and the
// chain of two sidecars between them.
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { appendFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import { freePort } from './free-ports.ts'
import { mesh, spiffeId } from './pki.ts'
import { type RunningSidecar, type SidecarFile, startSidecar, upstreamTo } from './running-sidecar.ts'
import { until } from './until.ts'

// Generous: the machine has two cores, and others use them too.
export const appPatienceMs = 60_000

export interface ProgramOptions {
  /** Another user than the one that runs the tests, by name. */
  readonly user?: string
  /** The signal that asks it to stop; SIGKILL follows where it does not. */
  readonly stopSignal?: NodeJS.Signals
  /** Where it is up once it takes connections. */
  readonly listensOn?: Address
}

/** A server that runs until it is stopped, the test ends, or the process of the tests dies. */
export class Program {
  readonly child: ChildProcess
  readonly name: string
  output = ''
  over = false
  readonly #stopSignal: NodeJS.Signals

  constructor(command: string, args: readonly string[], { user, stopSignal = 'SIGTERM' }: ProgramOptions) {
    this.name = command
    this.#stopSignal = stopSignal
    // setpriv(1) executes the program in its own place: the pid is the program's. SIGKILL would leave PostgreSQL's helpers.
    const wrapped = ['--pdeathsig', stopSignal.replace('SIG', ''), ...asUser(user), '--', command, ...args]
    this.child = spawn('setpriv', wrapped, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/' })
    keepOutput(this.child, text => {
      this.output += text
    })
    this.child.once('close', () => {
      this.over = true
    })
    this.child.once('error', error => {
      this.output += error.message
      this.over = true
    })
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name)
  }

  async stop(signal = this.#stopSignal): Promise<void> {
    if (this.over) return
    this.signal(signal)
    const stopLimitMs = 10_000
    await until(() => this.over, `${this.name} to stop`, stopLimitMs).catch(() => {
      this.signal('SIGKILL')
      return until(() => this.over, `${this.name} to be killed`)
    })
  }
}

export async function startProgram(
  t: TestContext,
  [command, ...args]: readonly [string, ...string[]],
  options: ProgramOptions = {},
): Promise<Program> {
  const program = new Program(command, args, options)
  t.after(() => program.stop())
  const { listensOn } = options
  if (listensOn === undefined) return program
  const deadlineAt = performance.now() + appPatienceMs
  while (!(await accepts(listensOn))) {
    assert.ok(!program.over, `${command} ended:\n${program.output}`)
    assert.ok(
      performance.now() < deadlineAt,
      `${command} does not listen on ${formatAddress(listensOn)}:\n${program.output}`,
    )
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  return program
}

export interface Finished {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

export interface ClientOptions {
  readonly user?: string
  readonly input?: string | Buffer
  readonly env?: NodeJS.ProcessEnv
  /** Called once it runs. */
  readonly started?: (child: ChildProcess) => void
}

/** A client program, run to its end; one that hangs is killed and has no exit code. */
export async function runClient(
  [command, ...args]: readonly [string, ...string[]],
  { user, input, env, started }: ClientOptions = {},
): Promise<Finished> {
  const wrapped = ['--pdeathsig', 'KILL', ...asUser(user), '--', command, ...args]
  const child = spawn('setpriv', wrapped, { stdio: 'pipe', cwd: '/', env: { ...process.env, ...env } })
  const stdout: Buffer[] = []
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk
  })
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  started?.(child)
  const limit = setTimeout(() => child.kill('SIGKILL'), appPatienceMs)
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('close', resolve).once('error', reject)
  })
  clearTimeout(limit)
  return { code, stdout: Buffer.concat(stdout), stderr }
}

/** The same for a client that has to succeed; its standard output as text. */
export async function succeed(
  command: readonly [string, ...string[]],
  options: ClientOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await runClient(command, options)
  assert.equal(code, 0, `${command.join(' ')}\n${stdout.subarray(0, 2000)}\n${stderr}`)
  return stdout.toString()
}

export interface Chain {
  readonly web: RunningSidecar
  readonly db: RunningSidecar
  /** Where web's application reaches the app behind db. */
  readonly upstream: Address
  /** Stops both sidecars and returns what web and db wrote of the sessions that they had. */
  end(): Promise<{ readonly web: readonly AccessRecord[]; readonly db: readonly AccessRecord[] }>
}

/** web and db around an app that listens already. */
export async function startChain(
  t: TestContext,
  app: Address,
  { allow = [spiffeId('web')], web: settings = {} }: { allow?: readonly string[]; web?: SidecarFile } = {},
): Promise<Chain> {
  const dbPublic = await freePort()
  const upstream = await freePort()
  const [db, web] = await Promise.all([
    startDb(t, { listen: dbPublic, app, allow }),
    startSidecar(t, { log_json: true, upstreams: [upstreamTo(dbPublic, upstream)], ...settings }),
  ])
  return {
    web,
    db,
    upstream,
    end: async () => ({ web: await recordsAtEnd(web), db: await recordsAtEnd(db) }),
  }
}

/** A sidecar of db at an address; again at the same one where its folder is given. */
export function startDb(
  t: TestContext,
  place: { readonly listen: Address; readonly app: Address; readonly allow?: readonly string[] },
): Promise<RunningSidecar> {
  const inbound = {
    listen: formatAddress(place.listen),
    local_service_address: formatAddress(place.app),
    allow: place.allow ?? [spiffeId('web')],
  }
  return startSidecar(t, { service: 'db', log_json: true, inbound }, { leaf: mesh.db })
}

/** The access log's line of one session, as `--log-json` writes it. */
export interface AccessRecord {
  readonly level: string
  readonly time: string
  readonly direction: 'inbound' | 'outbound'
  readonly peer?: string
  readonly downstream: string
  readonly endpoint?: string
  readonly attempts?: readonly string[]
  readonly bytes_to_upstream: number
  readonly bytes_to_downstream: number
  readonly duration_ms: number
  readonly reason: string
  readonly detail?: string
}

/** Stops a sidecar, cleanly, and reads the access lines that it has written. */
export async function recordsAtEnd(sidecar: RunningSidecar): Promise<readonly AccessRecord[]> {
  const ended = sidecar.command.ended ?? (await sidecar.command.stop())
  assert.equal(ended.code, 0, sidecar.command.stderr)
  return accessRecords(sidecar)
}

export function accessRecords({ command }: RunningSidecar): readonly AccessRecord[] {
  return command
    .linesWith('"session ended"')
    .map(line => JSON.parse(line) as AccessRecord)
    .filter(record => record.direction !== undefined)
}

/** No session ended otherwise than by both sides' closing, and no line of the log is a warning. */
export function assertClean(records: readonly AccessRecord[]): void {
  assert.deepEqual(
    records.filter(({ reason, level }) => reason !== 'closed' || level !== 'info'),
    [],
  )
}

export function bytesOf(records: readonly AccessRecord[]): { up: number; down: number } {
  return {
    up: records.reduce((sum, record) => sum + record.bytes_to_upstream, 0),
    down: records.reduce((sum, record) => sum + record.bytes_to_downstream, 0),
  }
}

/** Only root can become another user; anybody else stays who they are. */
function asUser(user: string | undefined): readonly string[] {
  if (user === undefined || process.getuid?.() !== 0) return []
  return ['--reuid', user, '--regid', groupOf(user), '--clear-groups']
}

export function groupOf(user: string): string {
  return execFileSync('id', ['-g', user], { encoding: 'utf8' }).trim()
}

function accepts(address: Address): Promise<boolean> {
  return new Promise(resolve => {
    const socket = net.connect(address)
    const done = (accepted: boolean) => {
      socket.destroy()
      resolve(accepted)
    }
    socket.once('connect', () => done(true)).once('error', () => done(false))
  })
}

/** The runner searches all output of all suites for keys and certificates. */
function keepOutput(child: ChildProcess, note: (text: string) => void): void {
  const folder = process.env.SIDESPLICE_TEST_OUTPUT
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      note(String(chunk))
      if (folder === undefined || folder === '') return
      appendFileSync(join(folder, `app-${process.pid}-${child.pid}.out`), chunk)
    })
  }
}
