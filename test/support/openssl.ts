// The openssl command line as a peer that shares no code with Node's TLS settings: old versions, resumption, alerts.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import { freeAddress } from './ends.ts'
import { type IssuedCertificate, mesh } from './pki.ts'
import { until } from './until.ts'

const keptBytes = 1024 * 1024

export class OpensslProcess {
  /** Both its outputs. */
  output = ''
  outputBytes = 0
  exited = false
  readonly #child: ChildProcess

  constructor(t: TestContext, args: readonly string[]) {
    this.#child = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'pipe'] })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.outputBytes += chunk.length
        // As much as anybody looks at.
        if (this.outputBytes < keptBytes) this.output += chunk.toString('latin1')
      })
    }
    this.#child.stdin?.on('error', () => {})
    this.#child.on('close', () => {
      this.exited = true
    })
    t.after(async () => {
      if (this.exited) return
      this.#child.kill('SIGKILL')
      await this.exit()
    })
  }

  send(text: string): void {
    this.#child.stdin?.write(text)
  }

  end(): void {
    this.#child.stdin?.end()
  }

  async prints(text: string): Promise<void> {
    await until(() => this.output.includes(text) || this.exited, `openssl to print ${JSON.stringify(text)}`)
    if (!this.output.includes(text))
      throw new Error(`openssl ended without ${JSON.stringify(text)}:\n${this.output}`)
  }

  async exit(): Promise<void> {
    await until(() => this.exited, 'openssl to exit')
  }
}

export interface Credentials {
  readonly certificate?: IssuedCertificate
  readonly root?: IssuedCertificate
}

/** `openssl s_client` towards a public listener; what is sent to it goes to the app. */
export function sClient(
  t: TestContext,
  address: Address,
  args: readonly string[],
  credentials: Credentials = {},
): OpensslProcess {
  return new OpensslProcess(t, [
    's_client',
    '-connect',
    formatAddress(address),
    ...files(t, 'web', credentials),
    ...args,
  ])
}

/** `openssl s_server` where an upstream's sidecar would be; resolves once it listens. */
export async function sServer(t: TestContext, args: readonly string[], credentials: Credentials = {}) {
  const address = await freeAddress()
  const server = new OpensslProcess(t, [
    's_server',
    '-accept',
    formatAddress(address),
    ...files(t, 'db', credentials),
    ...args,
  ])
  await server.prints('ACCEPT')
  return { address, server }
}

function files(
  t: TestContext,
  service: 'web' | 'db',
  { certificate = mesh[service], root = mesh.root }: Credentials,
): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-openssl-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const write = (name: string, text: string) => {
    const path = join(folder, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }
  return [
    ...['-cert', write('cert.pem', certificate.certPem)],
    ...['-key', write('key.pem', certificate.keyPem)],
    ...['-cert_chain', write('chain.pem', certificate.chainPem)],
    ...['-CAfile', write('roots.pem', root.certPem)],
  ]
}

/** Makes the command line take part in TLS 1.1, which distributions switch off by its security level. */
export const tls11 = ['-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0'] as const
