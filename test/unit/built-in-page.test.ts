import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import test from 'node:test'

const at = (path: string) => new URL(`../../${path}`, import.meta.url)
const read = (path: string) => readFileSync(at(path), 'utf8')
const page = read('docs/built-in.md')
const rows = [...page.matchAll(/^\| (\d+) \|.*\| ([\w-]+) \|$/gm)].map(([row, number, file]) => ({
  row,
  number,
  file,
}))

test("the page on the built-in has a row for each scenario, and each row's test is there", () => {
  assert.deepEqual(
    rows.map(({ number }) => Number(number)),
    Array.from({ length: 15 }, (_, index) => index + 1),
  )
  for (const { file } of rows) assert.ok(existsSync(at(`test/consul/${file}.test.ts`)), file)
})

test("each failure of the built-in that the page names is asserted by that name in the row's test, and the other way round", () => {
  const failures = /The built-in's failures?: ([^.]+)\.|Its failure: ([^.]+)\./g
  const asserted = (text: string) =>
    [...text.matchAll(failures)].flatMap(([, many, one]) => (many ?? one ?? '').split(', '))
  for (const file of new Set(rows.map(row => row.file))) {
    const named = rows
      .filter(row => row.file === file)
      .flatMap(({ row }) => [...row.matchAll(/\*([^*]+)\*/g)])
    assert.deepEqual(
      [...new Set(asserted(read(`test/consul/${file}.test.ts`)))].sort(),
      [...new Set(named.map(([, name]) => name))].sort(),
      file,
    )
  }
  const files = readdirSync(at('test/consul')).filter(name => name.startsWith('built-in-'))
  assert.equal(new Set(rows.map(row => row.file)).size, files.length)
})
