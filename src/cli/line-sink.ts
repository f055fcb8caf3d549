// Lines out, never in the way: a bounded queue in front of a descriptor that does not block.
import { writeSync } from 'node:fs'
import { errorCode } from '../errors.ts'

export interface LineSinkOptions {
  readonly fd: number
  /** A line that says how many were dropped, for when there is room again. */
  readonly droppedLine: (lines: number) => string
  readonly maxBytes?: number
}

// Some seconds of a busy access log: enough for a reader that hiccups, nothing for a sidecar's memory.
const defaultMaxBytes = 1024 * 1024
const retryMs = 20

export class LineSink {
  /** Lines that found no room, or no reader. */
  dropped = 0
  readonly #fd: number
  readonly #maxBytes: number
  readonly #droppedLine: (lines: number) => string
  #queue: Buffer[] = []
  #queuedBytes = 0
  /** Dropped since the last line that said so. */
  #unsaid = 0
  #scheduled = false
  /** The last write was refused, other than for want of room. */
  #failing = false

  constructor({ fd, droppedLine, maxBytes = defaultMaxBytes }: LineSinkOptions) {
    this.#fd = fd
    this.#droppedLine = droppedLine
    this.#maxBytes = maxBytes
  }

  /** `line` with its newline. */
  write(line: string): void {
    const bytes = Buffer.from(line)
    if (this.#queuedBytes + bytes.length > this.#maxBytes) {
      this.dropped++
      this.#unsaid++
      return
    }
    // Said where the lines are missing, also to a reader that never catches up.
    if (!this.#failing) this.#sayDropped()
    this.#push(bytes)
    this.#schedule(0)
  }

  /** Resolves when all is written, or after `limitMs`. */
  async flush(limitMs: number): Promise<void> {
    const until = performance.now() + limitMs
    while (!this.#writeOut() && performance.now() < until)
      await new Promise(resolve => setTimeout(resolve, retryMs))
  }

  /** For a process that is about to die: blocks, `limitMs` at most. */
  flushSync(limitMs: number): void {
    const until = performance.now() + limitMs
    const never = new Int32Array(new SharedArrayBuffer(4))
    while (!this.#writeOut() && performance.now() < until) Atomics.wait(never, 0, 0, retryMs)
  }

  #push(bytes: Buffer): void {
    this.#queue.push(bytes)
    this.#queuedBytes += bytes.length
  }

  #schedule(delayMs: number): void {
    if (this.#scheduled) return
    this.#scheduled = true
    const turn = () => {
      this.#scheduled = false
      if (!this.#writeOut()) this.#schedule(retryMs)
    }
    if (delayMs === 0) setImmediate(turn)
    else setTimeout(turn, delayMs).unref()
  }

  /** Whether nothing is left. */
  #writeOut(): boolean {
    while (this.#queue.length > 0) {
      const batch = this.#queue.length === 1 ? (this.#queue[0] as Buffer) : Buffer.concat(this.#queue)
      this.#queue = [batch]
      let written: number
      try {
        written = writeSync(this.#fd, batch)
      } catch (error) {
        if (errorCode(error) === 'EAGAIN') return false
        this.#lose(batch)
        return true
      }
      this.#queuedBytes -= written
      this.#queue = written === batch.length ? [] : [batch.subarray(written)]
      this.#failing = false
      if (this.#queue.length === 0) this.#sayDropped()
    }
    return true
  }

  /**
   * The reader is gone (EPIPE), or the disk is full: what can't be written must not pile up. The next line is tried again: a
   * disk gets room, and the reader of a named pipe is started anew.
   */
  #lose(batch: Buffer): void {
    const lines = batch.toString('latin1').split('\n').length - 1
    this.dropped += lines
    this.#unsaid += lines
    this.#queue = []
    this.#queuedBytes = 0
    this.#failing = true
  }

  #sayDropped(): void {
    if (this.#unsaid === 0) return
    this.#push(Buffer.from(this.#droppedLine(this.#unsaid)))
    this.#unsaid = 0
  }
}
