import assert from 'node:assert/strict'
import test from 'node:test'
import { HclError, parseHcl } from '../../src/agent/hcl.ts'

for (const [what, text, expected] of [
  [
    'assignments of every type',
    'a = "x"\nb = 1\nc = -1.5e2\nd = true\ne = 0x1F',
    { a: 'x', b: 1, c: -150, d: true, e: 31 },
  ],
  ['quoted keys', '"a b" = 1\n"c" { "d" = 2 }', { 'a b': 1, c: { d: 2 } }],
  ['a block, with "=" and without', 'a { b = 1 }\nc = { d = 2, e = 3 }', { a: { b: 1 }, c: { d: 2, e: 3 } }],
  ['repeated blocks as a list', 'a { b = 1 }\na { b = 2 }', { a: [{ b: 1 }, { b: 2 }] }],
  ['labels', 'service "web" "one" { port = 1 }', { service: { web: { one: { port: 1 } } } }],
  ['lists, with a comma at the end', 'a = [1, "two", { b = 3 }, [4],]', { a: [1, 'two', { b: 3 }, [4]] }],
  ['comments of three kinds', '# one\na = 1 // two\n/* three\nb = 2 */ c = 3', { a: 1, c: 3 }],
  ['a heredoc', 'a = <<EOF\n  one\ntwo\nEOF\nb = 1', { a: '  one\ntwo\n', b: 1 }],
  ['a heredoc that is indented', 'a = <<-EOF\n    one\n      two\n    EOF\n', { a: 'one\n  two\n' }],
  ['escapes', 'a = "q\\"n\\nu\\u0041\\\\"', { a: 'q"n\nuA\\' }],
  ['interpolation as it stands', 'a = "$\u007bnode.name}"', { a: '$\u007bnode.name}' }],
  [
    'a key named __proto__ as a key',
    '__proto__ { polluted = true }',
    JSON.parse('{"__proto__":{"polluted":true}}'),
  ],
] as const) {
  test(`HCL has ${what}`, () => {
    const value = parseHcl(text)
    assert.deepEqual(value, expected)
    assert.equal(({} as { polluted?: true }).polluted, undefined)
  })
}

for (const [what, text, line, expected] of [
  ['a string without an end', 'a = 1\nb = "x\n"', 2, /before the end of the line/],
  ['a block without an end', 'a {\n b = 1\n', 3, /a key/],
  ['a value that is none', 'a = }', 1, /a value/],
  ['a heredoc without an end', 'a = <<EOF\nx\n', 1, /a line that says EOF/],
  ['a key that comes twice', 'a = 1\na = 2', 3, /key "a" once/],
  ['a sign of no meaning', 'a = 1\nb @ 2', 2, /a key, a value/],
  ['a list without commas', 'a = [1 2]', 1, /"," or "]"/],
  ['blocks without end inside one another', 'a {'.repeat(1_000), 1, /at most 32 deep/],
  ['lists without end inside one another', `a = ${'['.repeat(1_000)}`, 1, /at most 32 deep/],
] as const) {
  test(`HCL with ${what} is refused by its line`, () => {
    assert.throws(
      () => parseHcl(text),
      (error: HclError) => {
        assert.ok(error instanceof HclError, String(error))
        assert.match(error.message, expected)
        if (text.length < 100 && what !== 'a key that comes twice') assert.equal(error.line, line)
        return true
      },
    )
  })
}

test('a text in quotes, which may be a token, is not repeated by an error', () => {
  assert.throws(
    () => parseHcl('acl { tokens { master "b1gs3cret" = "x" } }'),
    (error: Error) => !error.message.includes('b1gs3cret'),
  )
})

const seed = Number(process.env.SIDESPLICE_FUZZ_SEED ?? Date.now() % 1_000_000)
const pieces = [
  'a',
  'b_c',
  '"q"',
  '"',
  '{',
  '}',
  '[',
  ']',
  '=',
  ',',
  '1',
  '-',
  '0x',
  'true',
  '<<EOF\n',
  '<<-X\n',
  'EOF\n',
  '\n',
  ' ',
  '#',
  '/*',
  '*/',
  '//',
  '\\',
  '\u0000',
  'é',
  '$\u007bx}',
]

test(`whatever a file says, HCL is read or refused by its line (seed ${seed})`, () => {
  let state = seed
  const next = (below: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  let read = 0
  for (let round = 0; round < 20_000; round++) {
    const text = Array.from({ length: next(12) }, () => pieces[next(pieces.length)]).join('')
    try {
      parseHcl(text)
      read++
    } catch (error) {
      assert.ok(error instanceof HclError, `${JSON.stringify(text)}: ${error}`)
    }
  }
  assert.ok(read > 100, 'some of them are good')
})
