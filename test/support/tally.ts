// A reporter for node:test that writes how many tests passed, failed and were skipped. Groups (describe) do not count.
interface TestEvent {
  readonly type: string
  readonly data: {
    readonly skip?: unknown
    readonly todo?: unknown
    readonly details?: { readonly type?: string }
  }
}

// biome-ignore lint/style/noDefaultExport: node:test takes a reporter as a module's default export
export default async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const sum = { passed: 0, failed: 0, skipped: 0 }
  for await (const { type, data } of source) {
    if (data.details?.type === 'suite') continue
    const left = data.skip !== undefined && data.skip !== false
    if (type === 'test:fail') sum.failed++
    else if (type === 'test:pass') sum[left || data.todo !== undefined ? 'skipped' : 'passed']++
  }
  yield JSON.stringify(sum)
}
