// What a process did to the files of a folder, by `strace -f -y -xx`: each write with its bytes, each sync, and the answers it gave
// meanwhile; and what a disk would hold of that after any of them, whatever of the page cache got there. Knows no database.
import { basename, dirname } from 'node:path'

/** For `strace -e`: whatever changes the content of a file or its name, and the answers. */
export const tracedCalls =
  'trace=openat,write,writev,pwrite64,ftruncate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat'

export type FileCall =
  | { readonly kind: 'create' | 'sync' | 'unlink'; readonly name: string }
  | { readonly kind: 'write'; readonly name: string; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly name: string; readonly length: number }
  | { readonly kind: 'rename'; readonly name: string; readonly to: string }
  /** Something else that was looked for. */
  | { readonly kind: 'said'; readonly text: string }

/** A file as a disk has it: what was synced, and what may or may not be there beside that, in the order of the writes. */
export interface DiskFile {
  readonly synced: Buffer
  readonly pending: readonly FileCall[]
}

/** Calls that concern files of this folder, and `says` in what is written elsewhere, in their order. */
export function readTrace(trace: string, folder: string, says: RegExp): readonly FileCall[] {
  const unfinished = new Map<string, string>()
  const calls: FileCall[] = []
  for (const line of trace.split('\n')) {
    const [, pid = '', rest = ''] = /^(\d+)\s+(.*)$/.exec(line) ?? []
    const begun = /^(.*) <unfinished \.\.\.>$/.exec(rest)
    if (begun !== null) {
      unfinished.set(pid, begun[1] ?? '')
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    const call = resumed === null ? rest : (unfinished.get(pid) ?? '') + resumed[1]
    const read = readCall(call, folder, says)
    if (read !== undefined) calls.push(read)
  }
  return calls
}

function readCall(call: string, folder: string, says: RegExp): FileCall | undefined {
  const [, name = '', args = '', result = ''] = /^(\w+)\((.*)\)\s+= (-?\d+)/.exec(call) ?? []
  if (result === '' || result.startsWith('-')) return undefined
  const strings = [...args.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map(([, text = '']) => bytesOf(text))
  const paths = strings.map(bytes => bytes.toString())
  const [, described = ''] = /^\d+<((?:\\x[0-9a-f]{2}|[^>\\])*)>/.exec(args) ?? []
  const file = bytesOf(described).toString()
  const here = (path: string | undefined) => path !== undefined && dirname(path) === folder
  const numbers = args.split(', ').map(Number)
  switch (name) {
    case 'openat':
      return args.includes('O_CREAT') && here(paths.at(-1))
        ? { kind: 'create', name: basename(paths.at(-1) ?? '') }
        : undefined
    case 'pwrite64': {
      if (!here(file)) return undefined
      const bytes = strings[0] ?? Buffer.alloc(0)
      if (bytes.length !== Number(result)) throw new Error(`got ${bytes.length} bytes of ${result}: ${call}`)
      return { kind: 'write', name: basename(file), at: numbers.at(-1) ?? 0, bytes }
    }
    case 'write':
    case 'writev': {
      if (here(file)) throw new Error(`got a write without an offset, expected none: ${call.slice(0, 200)}`)
      const text = paths.join('')
      return says.test(text) ? { kind: 'said', text } : undefined
    }
    case 'ftruncate':
      return here(file) ? { kind: 'truncate', name: basename(file), length: numbers.at(-1) ?? 0 } : undefined
    case 'fsync':
    case 'fdatasync':
      return here(file) ? { kind: 'sync', name: basename(file) } : undefined
    case 'unlink':
    case 'unlinkat':
      return here(paths.at(-1)) ? { kind: 'unlink', name: basename(paths.at(-1) ?? '') } : undefined
    default:
      return here(paths.at(-1))
        ? { kind: 'rename', name: basename(paths[0] ?? ''), to: basename(paths.at(-1) ?? '') }
        : undefined
  }
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text.replaceAll('\\x', ''), 'hex')
}

/** Which of the writes since a file's last sync got to the disk, by their place and their number. */
export type Arrived = (at: number, of: number) => boolean

/** The page cache as it is lost: all of it there (the process alone died), none, or, as a disk has its own order, some. */
export const losses: Readonly<Record<string, Arrived>> = {
  nothing: () => true,
  everything: () => false,
  'all but the last write': (at, of) => at === of - 1,
  'the first write': at => at > 0,
  'each other write': at => at % 2 === 0,
}

/** The files of a folder, call by call. Names are taken to be there at once, as a journaling file system orders them. */
export class Disk {
  readonly files = new Map<string, DiskFile>()

  apply(call: FileCall): void {
    if (call.kind === 'said') return
    const { name } = call
    const before = this.files.get(name)
    switch (call.kind) {
      case 'create':
        if (before === undefined) this.files.set(name, { synced: Buffer.alloc(0), pending: [] })
        return
      case 'unlink':
        this.files.delete(name)
        return
      case 'rename':
        this.files.delete(name)
        if (before !== undefined) this.files.set(call.to, before)
        return
      case 'sync':
        if (before !== undefined) this.files.set(name, { synced: contentOf(before, () => true), pending: [] })
        return
      default:
        if (before === undefined) throw new Error(`got a write to ${name}, expected a file that was opened`)
        this.files.set(name, { ...before, pending: [...before.pending, call] })
    }
  }

  /** How many writes the disk need not have. */
  get unsynced(): number {
    return [...this.files.values()].reduce((sum, { pending }) => sum + pending.length, 0)
  }

  after(arrived: Arrived): ReadonlyMap<string, Buffer> {
    return new Map([...this.files].map(([name, file]) => [name, contentOf(file, arrived)]))
  }
}

function contentOf({ synced, pending }: DiskFile, arrived: Arrived): Buffer {
  const there = pending.filter((_, at) => arrived(at, pending.length))
  // Sized once: a log of megabytes is put together thousands of times.
  const most = there.reduce(
    (bytes, call) => Math.max(bytes, call.kind === 'write' ? call.at + call.bytes.length : 0),
    synced.length,
  )
  const content = Buffer.alloc(most)
  synced.copy(content)
  let length = synced.length
  for (const call of there) {
    if (call.kind === 'truncate') {
      content.fill(0, Math.min(call.length, most))
      length = call.length
    }
    if (call.kind !== 'write') continue
    call.bytes.copy(content, call.at)
    length = Math.max(length, call.at + call.bytes.length)
  }
  return content.subarray(0, length)
}
