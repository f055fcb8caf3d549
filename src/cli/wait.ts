// How long to wait, as Go writes durations.
import { SidespliceError } from '../errors.ts'

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const

/**
 * `60s`, `1m30s`, `500ms`, `0`; `forever` is Infinity. Milliseconds.
 * @throws SidespliceError `usage`
 */
export function parseWait(text: string): number {
  if (text === 'forever') return Number.POSITIVE_INFINITY
  if (text === '0') return 0
  if (!/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/.test(text)) {
    throw new SidespliceError(
      `--wait: got ${JSON.stringify(text)}, expected a time as 60s or 1m30s, 0 or forever`,
      {
        source: 'cli',
        code: 'usage',
      },
    )
  }
  const parts = [...text.matchAll(/([0-9.]+)(ms|s|m|h)/g)]
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit as keyof typeof units], 0)
}
