// A guard against getting slower: ratios of now beside those that were recorded. Machines differ, ratios hold.
import type { Results } from './results.ts'
import { summarize } from './statistics.ts'
import { targets } from './targets.ts'
import { short } from './terminal.ts'

// Two runs of the same build differ by so much beyond what either has seen between its own rounds.
const tolerance = 0.05

/** What is worse now than in any recorded round, beyond the spread of both. Only ratios: they travel from machine to machine. */
export function checkAgainst(recorded: Results, now: Results): readonly string[] {
  return targets.flatMap(target => {
    if (target.unit !== ' x') return []
    const [before, after] = [recorded, now].map(results =>
      summarize(results.rounds.map(round => target.inRound(round, results))),
    )
    if (before === undefined || after === undefined) return []
    const worse =
      target.better === 'more'
        ? after.median < before.low * (1 - tolerance) && after.high < before.median
        : after.median > before.high * (1 + tolerance) && after.low > before.median
    return worse
      ? [
          `${target.figure}: got ${short(after.median)} x, expected ${short(before.low)} to ${short(before.high)} x`,
        ]
      : []
  })
}
