// Waiting for a condition: polled, with a deadline, so that no test sleeps and none hangs.
import { setTimeout as delay } from 'node:timers/promises'

const lookEveryMs = 4
// Generous: a test that fails may take long, one that passes never waits for it.
const patienceMs = 15_000

/** Resolves with the first value that is neither undefined nor false. */
export async function until<T>(
  look: () => T | undefined | false,
  what: string,
  limitMs = patienceMs,
): Promise<T> {
  const deadlineAt = performance.now() + limitMs
  for (;;) {
    const found = look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadlineAt) throw new Error(`waited ${limitMs} ms for ${what}`)
    await delay(lookEveryMs)
  }
}

/** Resolves once `look` has given the same value for `quietMs`: for the end of a movement that announces itself by nothing. */
export async function settled(look: () => number, what: string, quietMs = 250): Promise<number> {
  let value = look()
  let since = performance.now()
  return until(() => {
    const now = look()
    if (now !== value) {
      value = now
      since = performance.now()
    }
    return performance.now() - since >= quietMs ? { value } : undefined
  }, `${what} to stand still`).then(found => found.value)
}
