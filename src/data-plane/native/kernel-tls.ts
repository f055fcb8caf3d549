// Whether the kernel makes the records of sessions (kernel TLS), by what the operator wants and what the probe at the start has found.
import type { KernelTlsChoice, RelayChoice } from '../interface.ts'

/** What the addon's probe says; ciphers in the order of `ciphers`. */
export interface KernelFacts {
  /** Why there is no kernel TLS; absent where there is. */
  readonly why?: string
  /** It exchanges keys: Linux 6.14 and later. */
  readonly rekeys: boolean
  readonly ciphers: readonly {
    /** It carried bytes and a control record both ways, unchanged. */
    readonly correct: boolean
    /** Bytes a second, by those of records that the addon makes itself. */
    readonly speed: number
  }[]
}

export interface KernelUse extends RelayChoice {
  readonly relay: 'records' | 'ktls-splice'
  /** A bit for each cipher that is left to the kernel. */
  readonly ciphers: number
  readonly rekeys: boolean
}

const ciphers = ['AES-128-GCM', 'AES-256-GCM', 'ChaCha20-Poly1305'] as const
// Splicing saves copies; sealing that is slower than this eats up more than they cost.
const leastSpeed = 0.8

/** Bugs of kernel TLS that a splice runs into, and the first release of each series that is without. */
const knownBugs: readonly { readonly name: string; readonly fixedIn: readonly string[] }[] = [
  { name: 'CVE-2024-0646', fixedIn: ['6.7'] },
  { name: 'CVE-2025-38616', fixedIn: ['6.6.103', '6.12.43', '6.16.2'] },
]

/** What is used, or why what was asked for can't be. `release` as uname(2) has it. */
export function useOfKernel(
  choice: KernelTlsChoice,
  probe: () => KernelFacts,
  release: string,
): KernelUse | { readonly unavailable: string } {
  if (choice === 'off') return records('asked for')
  const facts = probe()
  if (facts.why !== undefined) return choice === 'on' ? { unavailable: facts.why } : records(facts.why)
  if (choice === 'on') return asked(facts)
  const bug = knownBugs.find(({ fixedIn }) => !isFixed(release, fixedIn))
  if (bug !== undefined) return records(`the kernel's ${release} may have ${bug.name}`)
  if (!facts.rekeys) return records("the kernel's TLS can not exchange keys")
  const fast = maskOf(facts, ({ correct, speed }) => correct && speed >= leastSpeed)
  if (fast === 0) return records(`the kernel's TLS is slow: ${speedsOf(facts)} of the speed of records here`)
  return {
    relay: 'ktls-splice',
    why: `the kernel's TLS is as fast and exchanges keys: ${namesOf(fast)}`,
    ciphers: fast,
    rekeys: true,
  }
}

function asked(facts: KernelFacts): KernelUse {
  const correct = maskOf(facts, cipher => cipher.correct)
  return {
    relay: 'ktls-splice',
    why: `asked for: ${namesOf(correct)}`,
    ciphers: correct,
    rekeys: facts.rekeys,
    ...(!facts.rekeys && {
      warning:
        "this kernel's TLS can not exchange keys: a KeyUpdate of the peer, or one that is due under AES-GCM, ends its session",
    }),
  }
}

function records(why: string): KernelUse {
  return { relay: 'records', why, ciphers: 0, rekeys: false }
}

function maskOf(facts: KernelFacts, takes: (cipher: KernelFacts['ciphers'][number]) => boolean): number {
  return facts.ciphers.reduce((mask, cipher, at) => (takes(cipher) ? mask | (1 << at) : mask), 0)
}

function namesOf(mask: number): string {
  return ciphers.filter((_, at) => (mask & (1 << at)) !== 0).join(', ')
}

function speedsOf(facts: KernelFacts): string {
  return facts.ciphers.map(({ speed }, at) => `${ciphers[at]} ${speed.toFixed(2)}`).join(', ')
}

/** Whether a release is at or past the fix of its series; one without a fix of its own counts by the next series that has one. */
export function isFixed(release: string, fixedIn: readonly string[]): boolean {
  const running = numbersOf(release)
  const fixes = fixedIn.map(numbersOf)
  const own = fixes.find(([major, minor]) => major === running[0] && minor === running[1])
  const last = fixes.at(-1)
  return own !== undefined ? compare(running, own) >= 0 : last !== undefined && compare(running, last) > 0
}

type Release = readonly [major: number, minor: number, patch: number]

function numbersOf(release: string): Release {
  const [, major, minor, patch] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(release) ?? []
  return [Number(major ?? 0), Number(minor ?? 0), Number(patch ?? 0)]
}

function compare(one: Release, other: Release): number {
  return one[0] - other[0] || one[1] - other[1] || one[2] - other[2]
}
