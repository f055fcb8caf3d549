// Where the agent's state outlives it: one SQLite file, each commit on the disk before it returns. Knows rows as JSON, not what they mean.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { errorCode, SidespliceError } from '../errors.ts'

export interface StoredRow {
  readonly kind: string
  readonly id: string
  /** JSON. */
  readonly value: string
}

export interface Change {
  readonly kind: string
  readonly id: string
  /** JSON; absent where the row goes. */
  readonly value?: string
}

export interface Store {
  load(): { readonly index: number; readonly rows: readonly StoredRow[] }
  /** Returns once it would be there after a power loss. */
  commit(index: number, changes: readonly Change[]): void
  close(): void
}

/** What `--dev` keeps: nothing. */
export const memoryStore: Store = {
  load: () => ({ index: 0, rows: [] }),
  commit: () => {},
  close: () => {},
}

// PRAGMA application_id: another program's database is never taken for ours. "sspl".
const applicationId = 0x7373706c
const schemaVersion = 1

/**
 * Opens the database in this folder, or makes one where there is none.
 * @throws SidespliceError `state_damaged`, `state_in_use`, `state_unusable`
 */
export function openDatabase(folder: string): Store {
  const file = join(folder, 'state.db')
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (!existsSync(file)) createDatabase(folder, file)
  } catch (cause) {
    throw fault(
      'state_unusable',
      `${file}: got ${errorCode(cause)}, expected a folder to keep state in`,
      cause,
    )
  }
  let database: DatabaseSync
  try {
    database = new DatabaseSync(file)
    prepare(database)
  } catch (cause) {
    throw refusal(file, cause)
  }
  return storeOf(database)
}

/** Made under another name and moved: a file of the real name is whole, so that an empty one is a damaged one. */
function createDatabase(folder: string, file: string): void {
  const unfinished = `${file}.new`
  const remove = () => {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(unfinished + suffix, { force: true })
  }
  remove()
  // Nobody else's from its first byte on: it holds the CA's key.
  closeSync(openSync(unfinished, 'wx', 0o600))
  const database = new DatabaseSync(unfinished)
  database.exec(`
    PRAGMA synchronous = FULL;
    PRAGMA application_id = ${applicationId};
    PRAGMA user_version = ${schemaVersion};
    CREATE TABLE row (kind TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
    CREATE TABLE cursor (position INTEGER NOT NULL);
    INSERT INTO cursor VALUES (0);
  `)
  database.close()
  syncPath(unfinished)
  renameSync(unfinished, file)
  syncPath(folder)
  syncPath(dirname(folder))
}

function prepare(database: DatabaseSync): void {
  // Locked as long as it is open: two agents on one folder would each overwrite what the other acknowledged.
  database.exec('PRAGMA locking_mode = EXCLUSIVE')
  const number = (pragma: string) =>
    Number(Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0])
  if (number('application_id') !== applicationId) throw new Error('it is not a database of this agent')
  const version = number('user_version')
  if (version !== schemaVersion)
    throw new Error(`it is of version ${version}, and this agent reads version ${schemaVersion}`)
  // FULL in WAL mode: the log is on the disk at each commit (https://sqlite.org/pragma.html#pragma_synchronous).
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN EXCLUSIVE; COMMIT')
  const health = Object.values(database.prepare('PRAGMA integrity_check(1)').get() ?? {})[0]
  if (health !== 'ok') throw new Error(String(health))
}

function storeOf(database: DatabaseSync): Store {
  const put = database.prepare('INSERT OR REPLACE INTO row VALUES (?, ?, ?)')
  const remove = database.prepare('DELETE FROM row WHERE kind = ? AND id = ?')
  const move = database.prepare('UPDATE cursor SET position = ?')
  return {
    load() {
      const rows = database.prepare('SELECT kind, id, value FROM row').all() as unknown as StoredRow[]
      const { position } = database.prepare('SELECT position FROM cursor').get() as { position: number }
      return { index: position, rows }
    },
    commit(index, changes) {
      database.exec('BEGIN')
      try {
        for (const { kind, id, value } of changes) {
          if (value === undefined) remove.run(kind, id)
          else put.run(kind, id, value)
        }
        move.run(index)
        database.exec('COMMIT')
      } catch (error) {
        if (database.isTransaction) database.exec('ROLLBACK')
        throw error
      }
    },
    close: () => database.close(),
  }
}

function refusal(file: string, cause: unknown): SidespliceError {
  const message = cause instanceof Error ? cause.message : String(cause)
  if (/locked|busy/.test(message))
    return fault(
      'state_in_use',
      `${file}: got a file that is locked, expected that no other agent uses it`,
      cause,
    )
  return fault(
    'state_damaged',
    `${file}: got a file that can't be used (${message}); it was left as it is. Restore it from a copy, or move it away, with ` +
      'the files beside it whose names begin alike, to start with nothing: a new CA, no intentions, no tokens',
    cause,
  )
}

function syncPath(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

function fault(code: string, message: string, cause: unknown): SidespliceError {
  return new SidespliceError(message, { source: 'agent', code, cause })
}
