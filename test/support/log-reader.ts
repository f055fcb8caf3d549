// The reader of a sidecar's standard output, held by the test: it may stop, go on, go away.
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync } from 'node:fs'
import net from 'node:net'
import type { Readable } from 'node:stream'
import type { TestContext } from 'node:test'
import type { Folder } from './running-sidecar.ts'
import { until } from './until.ts'

/** A pipe is what a shell gives, a socket what journald does (and node:child_process). */
export const outputKinds = ['pipe', 'socket'] as const
export type OutputKind = (typeof outputKinds)[number]

export class LogReader {
  readonly #stream: Readable
  #chunks: Buffer[] = []

  constructor(t: TestContext, stream: Readable) {
    this.#stream = stream
    stream.on('data', (chunk: Buffer) => this.#chunks.push(chunk))
    stream.on('error', () => {})
    t.after(() => stream.destroy())
  }

  get lines(): readonly string[] {
    const whole = Buffer.concat(this.#chunks)
    this.#chunks = [whole]
    return whole
      .toString()
      .split('\n')
      .filter(line => line !== '')
  }

  linesWith(text: string): readonly string[] {
    return this.lines.filter(line => line.includes(text))
  }

  /** From here on what is written stays in the kernel, as far as it takes it. */
  stop(): void {
    this.#stream.pause()
  }

  goOn(): void {
    this.#stream.resume()
  }

  goAway(): void {
    this.#stream.destroy()
  }

  async line(text: string): Promise<string> {
    return until(() => this.linesWith(text)[0], `${text} among ${this.lines.length} lines`, 20_000)
  }
}

/** A named pipe in the folder. */
export class NamedPipe {
  readonly #t: TestContext
  readonly #path: string
  /** For the process that is to write into it. */
  readonly writeFd: number
  reader: LogReader

  constructor(t: TestContext, folder: Folder) {
    this.#t = t
    this.#path = folder.file('stdout')
    execFileSync('mkfifo', [this.#path])
    // In this order: a pipe opens for writing once it has a reader, and a reader without a writer is at its end.
    const readFd = this.#openReader()
    this.writeFd = openSync(this.#path, constants.O_WRONLY)
    this.reader = this.#read(readFd)
  }

  /** Once the process has the writing end, so that the reader sees its end with the process. */
  handedOver(): void {
    closeSync(this.writeFd)
  }

  readAnew(): LogReader {
    this.reader = this.#read(this.#openReader())
    return this.reader
  }

  #openReader(): number {
    return openSync(this.#path, constants.O_RDONLY | constants.O_NONBLOCK)
  }

  #read(fd: number): LogReader {
    return new LogReader(this.#t, new net.Socket({ fd, readable: true, writable: false }))
  }
}
