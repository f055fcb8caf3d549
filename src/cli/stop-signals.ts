// SIGTERM and SIGINT: the first one asks to stop, the second one cuts.

export interface StopSignals {
  /** Its name. */
  readonly first: Promise<NodeJS.Signals>
  readonly second: AbortSignal
  /** Resolves with it. */
  readonly cut: Promise<void>
  /** Ends early by the second signal. */
  sleep(ms: number): Promise<void>
}

export function stopSignals(): StopSignals {
  const cut = new AbortController()
  let stopping = false
  let resolveFirst: (signal: NodeJS.Signals) => void = () => {}
  const first = new Promise<NodeJS.Signals>(resolve => {
    resolveFirst = resolve
  })
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) cut.abort()
    stopping = true
    resolveFirst(signal)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return {
    first,
    second: cut.signal,
    cut: new Promise(resolve => cut.signal.addEventListener('abort', () => resolve())),
    sleep: ms =>
      new Promise(resolve => {
        if (ms === 0 || cut.signal.aborted) return resolve()
        const timer = setTimeout(resolve, ms)
        cut.signal.addEventListener('abort', () => {
          clearTimeout(timer)
          resolve()
        })
      }),
  }
}
