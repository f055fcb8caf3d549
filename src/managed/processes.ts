// Processes of this machine that a supervisor has started, found again by a mark in their environment. Linux: by /proc.
import { readdirSync, readFileSync } from 'node:fs'

/** In the environment of every managed process: who started it, which proxy it is, by which definition. */
export const markVariable = 'SIDESPLICE_MANAGED'

/** Tells a proxy to end when its standard input does: who started it has gone then, and it is not to be left behind. */
export const endWithStdinVariable = 'SIDESPLICE_END_WITH_STDIN'

export interface Mark {
  /** Whose: the ID of the agent or supervisor. */
  readonly owner: string
  readonly proxy: string
  /** Of its definition: another one means that it has to be started anew. */
  readonly fingerprint: string
  /** Of its token; empty for none. */
  readonly accessor: string
}

export interface FoundProcess {
  readonly pid: number
  /** In clock ticks since boot: with the pid, this names one process for as long as the machine is up. */
  readonly startedAt: string
  /** The process of its session that was started; others of the same mark are its children. */
  readonly leads: boolean
  readonly group: number
  readonly mark: Mark
}

export function formatMark({ owner, proxy, fingerprint, accessor }: Mark): string {
  return [owner, proxy, fingerprint, accessor].map(encodeURIComponent).join('/')
}

export function parseMark(text: string): Mark | undefined {
  try {
    const [owner, proxy, fingerprint, accessor, ...rest] = text.split('/').map(decodeURIComponent)
    if (owner === undefined || proxy === undefined || fingerprint === undefined || accessor === undefined)
      return undefined
    return rest.length > 0 ? undefined : { owner, proxy, fingerprint, accessor }
  } catch {
    return undefined
  }
}

/** All of them that this owner has started and that live. */
export function findProcesses(owner: string): readonly FoundProcess[] {
  const prefix = `${markVariable}=${encodeURIComponent(owner)}/`
  return pids().flatMap(pid => {
    const text = read(`/proc/${pid}/environ`)
      ?.split('\0')
      .find(entry => entry.startsWith(prefix))
    const mark = text === undefined ? undefined : parseMark(text.slice(markVariable.length + 1))
    const stat = statOf(pid)
    if (mark === undefined || stat === undefined || stat.state === 'Z') return []
    return [{ pid, startedAt: stat.startedAt, group: stat.group, leads: stat.session === pid, mark }]
  })
}

/** Whether this very process lives, and not another one that got its number. */
export function lives({ pid, startedAt }: Pick<FoundProcess, 'pid' | 'startedAt'>): boolean {
  const stat = statOf(pid)
  return stat !== undefined && stat.state !== 'Z' && stat.startedAt === startedAt
}

/** The token that a managed process was given. */
export function secretOf(pid: number): string | undefined {
  const prefix = 'CONNECT_PROXY_TOKEN='
  const entry = read(`/proc/${pid}/environ`)
    ?.split('\0')
    .find(one => one.startsWith(prefix))
  return entry?.slice(prefix.length)
}

export function startOf(pid: number): string | undefined {
  return statOf(pid)?.startedAt
}

/** Where it lives still. A number that now is another's is left alone. */
export function signal(process_: Pick<FoundProcess, 'pid' | 'startedAt'>, name: NodeJS.Signals): void {
  if (!lives(process_)) return
  try {
    process.kill(process_.pid, name)
  } catch {
    // It ended meanwhile.
  }
}

function pids(): readonly number[] {
  return readdirSync('/proc')
    .filter(name => /^[0-9]+$/.test(name))
    .map(Number)
}

interface Stat {
  readonly state: string
  readonly group: number
  readonly session: number
  readonly startedAt: string
}

/** proc(5): fields 3, 5, 6 and 22. The name, which may hold anything, ends at the last parenthesis. */
function statOf(pid: number): Stat | undefined {
  const text = read(`/proc/${pid}/stat`)
  if (text === undefined) return undefined
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [state = '', , group = '', session = ''] = fields
  return { state, group: Number(group), session: Number(session), startedAt: fields[19] ?? '' }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    // Gone, or somebody else's.
    return undefined
  }
}
