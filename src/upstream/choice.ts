// Which endpoints of an upstream to try, in which order: power of two choices by open sessions, and those that keep failing
// passed over for a while. Pure: counters, time and randomness come in.
import type { EndpointCounters } from './endpoint-counters.ts'

export interface ChoiceFacts {
  readonly counters: ReadonlyMap<string, EndpointCounters>
  /** Monotonic, milliseconds, as EndpointCounters has it. */
  readonly now: number
  /** 0 up to, not including, 1. */
  readonly random: () => number
}

// One failure may be a restart under way, and costs a retry only; from the second in a row on an endpoint is passed over.
const failuresBefore = 2
const firstPassedOverMs = 1_000
const longestPassedOverMs = 60_000

/**
 * All names, in the order to try them: healthy ones by repeated power of two choices, then those passed over, the one whose
 * time is over soonest first. So an endpoint that is passed over is dialed only where every other has failed.
 */
export function orderEndpoints(names: readonly string[], facts: ChoiceFacts): readonly string[] {
  const healthy: string[] = []
  const passedOver: { readonly name: string; readonly untilAt: number }[] = []
  for (const name of names) {
    const untilAt = passedOverUntil(facts.counters.get(name), facts.now)
    if (untilAt === undefined) healthy.push(name)
    else passedOver.push({ name, untilAt })
  }
  passedOver.sort((one, other) => one.untilAt - other.untilAt)
  return [...powerOfTwo(healthy, facts), ...passedOver.map(({ name }) => name)]
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

function powerOfTwo(names: readonly string[], { counters, random }: ChoiceFacts): readonly string[] {
  const left = [...names]
  const chosen: string[] = []
  const open = (at: number) => counters.get(left[at] ?? '')?.open ?? 0
  while (left.length > 0) {
    const one = Math.floor(random() * left.length)
    // Another than the first, so that two endpoints are always compared.
    const other = left.length === 1 ? one : (one + 1 + Math.floor(random() * (left.length - 1))) % left.length
    chosen.push(...left.splice(open(other) < open(one) ? other : one, 1))
  }
  return chosen
}
