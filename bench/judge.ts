// Targets against what was measured.
import type { Results } from './results.ts'
import { type Summary, summarize } from './statistics.ts'
import { type Target, targets } from './targets.ts'

export interface TargetResult {
  readonly target: Target
  readonly measured: Summary | undefined
  /** Undefined where it was not measured. */
  readonly met: boolean | undefined
}

export function judge(results: Results): readonly TargetResult[] {
  return targets.map(target => {
    const summary = summarize(results.rounds.map(round => target.inRound(round, results)))
    return {
      target,
      measured: summary,
      met: summary === undefined ? undefined : isMet(target, summary.median),
    }
  })
}

function isMet({ better, limit }: Target, median: number): boolean {
  return better === 'more' ? median >= limit : median <= limit
}
