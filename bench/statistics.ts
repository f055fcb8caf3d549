// Medians and spreads. A ratio is taken within a round and only then summed up: what slows the machine for a minute slows both.
export interface Summary {
  readonly median: number
  readonly low: number
  readonly high: number
  readonly rounds: number
}

export function summarize(values: readonly (number | undefined)[]): Summary | undefined {
  const sorted = values.filter(value => value !== undefined).toSorted((one, other) => one - other)
  const [low, high] = [sorted[0], sorted.at(-1)]
  if (low === undefined || high === undefined) return undefined
  return { median: medianOf(sorted), low, high, rounds: sorted.length }
}

function medianOf(sorted: readonly number[]): number {
  const upper = sorted[Math.floor(sorted.length / 2)] ?? 0
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? 0
  return (upper + lower) / 2
}

/** Undefined where a part is, and where there is nothing to divide by. */
export function ratio(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined || other <= 0 ? undefined : one / other
}
