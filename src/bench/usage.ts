// What processes have used, children included: CPU time and memory, from /proc (proc(5)).
import { readdirSync, readFileSync } from 'node:fs'

/** KiB; summed over processes. */
export interface Memory {
  readonly rss: number
  readonly pss: number
  readonly uss: number
}

// USER_HZ is 100 on every architecture that Node runs on.
const ticksASecond = 100

/** User and system time in seconds, of a process and those that it has started and that live. */
export function cpuSeconds(pid: number): number {
  return tree(pid).reduce((sum, one) => {
    const fields = statOf(one)
    return sum + (Number(fields[11]) + Number(fields[12])) / ticksASecond
  }, 0)
}

export function memory(pid: number): Memory {
  const sums = { rss: 0, pss: 0, uss: 0 }
  for (const one of tree(pid)) {
    const text = read(`/proc/${one}/smaps_rollup`)
    const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0)
    sums.rss += kib('Rss')
    sums.pss += kib('Pss')
    sums.uss += kib('Private_Clean') + kib('Private_Dirty')
  }
  return sums
}

/** The process and all below it. */
export function tree(pid: number): readonly number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc'))
    if (/^\d+$/.test(name)) parents.set(Number(name), parentOf(Number(name)))
  const found = [pid]
  for (const one of found) for (const [child, parent] of parents) if (parent === one) found.push(child)
  return found
}

function parentOf(pid: number): number {
  return Number(statOf(pid)[1] ?? -1)
}

/** From the state on: the name before it may hold anything. */
function statOf(pid: number): readonly string[] {
  const text = read(`/proc/${pid}/stat`)
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

/** Empty for a process that has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
