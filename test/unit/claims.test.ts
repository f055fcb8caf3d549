import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import test from 'node:test'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

test('every claim names a test that there is', () => {
  const rows = [...read('docs/claims.md').matchAll(/^\|[^|]*\| (\w+\/[\w-]+) \| (.+) \|$/gm)]
  assert.ok(rows.length > 60, 'the rows are found')
  for (const [, file = '', title = ''] of rows) {
    const path = `test/${file}.test.ts`
    assert.ok(existsSync(new URL(`../../${path}`, import.meta.url)), `${path} for ${JSON.stringify(title)}`)
    assert.ok(read(path).includes(title), `${path}: ${title}`)
  }
})
