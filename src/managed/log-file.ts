// A proxy's log file: opened for appending, handed to the process, and cut when it is large, by copy and truncate, so that whoever writes goes on.
import {
  chmodSync,
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'

const mostBytes = 10 * 1_024 * 1_024

export class LogFiles {
  readonly #folder: string
  readonly #mostBytes: number

  constructor(dataDir: string, most = mostBytes) {
    this.#folder = join(dataDir, 'proxy', 'logs')
    this.#mostBytes = most
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
  }

  pathOf(proxy: string): string {
    // An ID may hold a slash, and be longer than a file's name.
    return join(this.#folder, `${encodeURIComponent(proxy).slice(0, 200)}.log`)
  }

  /** Runs with it open; the process has a descriptor of its own. */
  use<T>(proxy: string, run: (fd: number) => T): T {
    const fd = openSync(this.pathOf(proxy), 'a', 0o600)
    try {
      return run(fd)
    } finally {
      closeSync(fd)
    }
  }

  /** Lines that come between the copy and the cut are lost: the price of a writer that need not know. */
  rotate(proxy: string): void {
    const path = this.pathOf(proxy)
    const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    if (size < this.#mostBytes) return
    copyFileSync(path, `${path}.new`)
    chmodSync(`${path}.new`, 0o600)
    renameSync(`${path}.new`, `${path}.1`)
    truncateSync(path)
  }
}
