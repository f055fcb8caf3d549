// Files that a token is handed to a proxy by: nobody else's to read, and whole at every moment, as the proxy reads them whenever it asks.
import { createHash, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorCode, SidespliceError } from '../errors.ts'

export class TokenFiles {
  readonly #folder: string
  readonly #temporary: boolean

  /** Without a folder for data, one that goes with us. */
  constructor(dataDir: string | undefined) {
    this.#temporary = dataDir === undefined
    this.#folder =
      dataDir === undefined
        ? mkdtempSync(join(tmpdir(), 'sidesplice-tokens-'))
        : join(dataDir, 'proxy', 'tokens')
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 })
  }

  pathOf(proxy: string): string {
    return join(this.#folder, nameOf(proxy))
  }

  /** Undefined where there is none. */
  read(proxy: string): string | undefined {
    return read(this.pathOf(proxy))
  }

  /** @throws SidespliceError `token_file` */
  write(proxy: string, secret: string): void {
    const path = this.pathOf(proxy)
    const unfinished = `${path}.${randomUUID()}`
    try {
      writeFileSync(unfinished, `${secret}\n`, { flag: 'wx', mode: 0o600 })
      renameSync(unfinished, path)
    } catch (cause) {
      throw new SidespliceError(`${path}: got ${errorCode(cause)}, expected a file that can be written`, {
        ...{ source: 'cli', code: 'token_file', cause },
      })
    }
  }

  /** Those of other proxies than these, and what was left half written. */
  strangers(proxies: Iterable<string>): ReadonlyMap<string, string> {
    const known = new Set([...proxies].map(nameOf))
    return new Map(
      readdirSync(this.#folder)
        .filter(name => !known.has(name))
        .map(name => [join(this.#folder, name), read(join(this.#folder, name)) ?? '']),
    )
  }

  remove(path: string): void {
    rmSync(path, { force: true })
  }

  close(): void {
    if (this.#temporary) rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** An ID may hold a slash, and be longer than a file's name. */
function nameOf(proxy: string): string {
  return createHash('sha256').update(proxy).digest('hex').slice(0, 32)
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim() || undefined
  } catch {
    return undefined
  }
}
