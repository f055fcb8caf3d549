// Which endpoints of an upstream to try, in which order: power of two choices by open sessions, and those that keep failing
// passed over for a while. Pure: counters, time and randomness come in.
import type { EndpointCounters } from './endpoint-counters.ts'

export interface ChoiceFacts {
  readonly counters: ReadonlyMap<string, EndpointCounters>
  /** Monotonic, milliseconds, as EndpointCounters has it. */
  readonly now: number
  /** 0 up to, not including, 1. */
  readonly random: () => number
  /** How many are wanted. */
  readonly most: number
}

// One failure may be a restart under way, and costs a retry only; from the second in a row on an endpoint is passed over.
const failuresBefore = 2
const firstPassedOverMs = 1_000
const longestPassedOverMs = 60_000

/** What a choice needs to know of an endpoint. */
export interface Candidate {
  readonly name: string
  /** At least 1: with twice the weight of another an endpoint carries twice its sessions. */
  readonly weight: number
}

/**
 * Endpoints in the order to try them, `most` of them: healthy ones by repeated power of two choices, then those passed over, the one whose
 * time is over soonest first. So an endpoint that is passed over is dialed only where every other has failed.
 */
export function orderEndpoints<T extends Candidate>(
  candidates: readonly T[],
  facts: ChoiceFacts,
): readonly T[] {
  const healthy: T[] = []
  const passedOver: { readonly candidate: T; readonly untilAt: number }[] = []
  for (const candidate of candidates) {
    const untilAt = passedOverUntil(facts.counters.get(candidate.name), facts.now)
    if (untilAt === undefined) healthy.push(candidate)
    else passedOver.push({ candidate, untilAt })
  }
  passedOver.sort((one, other) => one.untilAt - other.untilAt)
  return [...powerOfTwo(healthy, facts), ...passedOver.map(({ candidate }) => candidate)].slice(0, facts.most)
}

/** Until when (monotonic) an endpoint is passed over, or undefined where it is not. */
export function passedOverUntil(counters: EndpointCounters | undefined, now: number): number | undefined {
  if (counters === undefined || counters.consecutiveFailures < failuresBefore) return undefined
  // For as long as it has failed by now: doubles from one try to the next, however many failed in one burst. Doubled a failure,
  // it would take twenty connections that were dialing at once, when an endpoint was restarted, for a minute without it.
  const { failingSince, lastFailureAt } = counters
  const passedOverMs = Math.max(firstPassedOverMs, lastFailureAt - failingSince)
  const untilAt = lastFailureAt + Math.min(passedOverMs, longestPassedOverMs)
  if (untilAt > now) return untilAt
  // Its time is over: one session at a time finds out whether it is back.
  return counters.dialing > 0 ? now : undefined
}

function powerOfTwo<T extends Candidate>(
  candidates: readonly T[],
  { counters, random, most }: ChoiceFacts,
): readonly T[] {
  const left = [...candidates]
  const chosen: T[] = []
  // One session more, so that of two idle endpoints the heavier is the emptier.
  const load = ({ name, weight }: T) => ((counters.get(name)?.open ?? 0) + 1) / weight
  while (left.length > 0 && chosen.length < most) {
    const one = pick(left, random, undefined)
    // Another than the first, so that two endpoints are always compared.
    const other = pick(left, random, one) ?? one
    if (one === undefined || other === undefined) break
    const better = load(other) < load(one) ? other : one
    left.splice(left.indexOf(better), 1)
    chosen.push(better)
  }
  return chosen
}

/** One of them at random, by weight, other than `not`. */
function pick<T extends Candidate>(
  candidates: readonly T[],
  random: () => number,
  not: T | undefined,
): T | undefined {
  const open = candidates.filter(candidate => candidate !== not)
  let at = random() * open.reduce((sum, { weight }) => sum + weight, 0)
  for (const candidate of open) {
    at -= candidate.weight
    if (at < 0) return candidate
  }
  return open.at(-1)
}
