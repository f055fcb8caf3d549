// A reporter for node:test that writes how many tests passed, failed and were skipped, and which failed. Groups (describe) do not count.
export interface Tally {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  /** A line for each failed test: its file, its title, and what it said, in one line. */
  readonly failures: readonly string[]
}

interface TestEvent {
  readonly type: string
  readonly data: {
    readonly name?: string
    readonly file?: string
    readonly skip?: unknown
    readonly todo?: unknown
    readonly details?: {
      readonly type?: string
      readonly error?: { readonly cause?: unknown; readonly message?: string }
    }
  }
}

// biome-ignore lint/style/noDefaultExport: node:test takes a reporter as a module's default export
export default async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const sum = { passed: 0, failed: 0, skipped: 0 }
  const failures: string[] = []
  for await (const { type, data } of source) {
    if (data.details?.type === 'suite') continue
    const left = data.skip !== undefined && data.skip !== false
    if (type === 'test:fail') {
      sum.failed++
      failures.push(describeFailure(data))
    } else if (type === 'test:pass') sum[left || data.todo !== undefined ? 'skipped' : 'passed']++
  }
  yield JSON.stringify({ ...sum, failures } satisfies Tally)
}

function describeFailure({ name = '?', file, details }: TestEvent['data']): string {
  // node:test wraps what was thrown.
  const { cause, message } = details?.error ?? {}
  const said = cause instanceof Error ? cause.message : String(cause ?? message ?? '')
  const test = file === undefined ? '' : `${file.slice(file.lastIndexOf('/test/') + 1)}: `
  return `${test}${name}: ${said
    .trim()
    .replaceAll(/\s*\n\s*/g, ' ')
    .slice(0, 400)}`
}
