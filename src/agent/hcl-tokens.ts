// HCL 1 cut into tokens: words, strings, heredocs, numbers and signs. Knows no grammar.

export interface Token {
  readonly kind: 'word' | 'string' | 'number' | 'sign' | 'end'
  readonly text: string
  readonly value?: string | number
  readonly line: number
}

export class HclError extends Error {
  readonly line: number
  readonly got: string
  readonly expected: string

  constructor(line: number, got: string, expected: string) {
    super(`line ${line}: got ${got}, expected ${expected}`)
    this.name = 'HclError'
    this.line = line
    this.got = got
    this.expected = expected
  }
}

/** Of what is nested deeper than anybody's text has a reason to be. */
export class HclDepthError extends HclError {}

const skipped = /(?:[\s\uFEFF]+|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/)/y
const word = /[A-Za-z_][A-Za-z0-9_.-]*/y
const number = /-?(?:0[xX][0-9A-Fa-f]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)/y
const heredoc = /<<(-?)([A-Za-z0-9_]+)[ \t]*\r?\n/y
const signs = '{}[]=,'
const escapes: Readonly<Record<string, string>> = {
  ...{ n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', a: '\x07', b: '\b', f: '\f', v: '\v' },
}

/** @throws HclError */
export function tokenize(text: string): readonly Token[] {
  const tokens: Token[] = []
  let at = 0
  let line = 1
  const take = (form: RegExp) => {
    form.lastIndex = at
    return form.exec(text)
  }
  const push = (token: Omit<Token, 'line'>, length: number) => {
    tokens.push({ ...token, line })
    line += linesOf(text.slice(at, at + length))
    at += length
  }
  while (at < text.length) {
    const skip = take(skipped)
    if (skip !== null) {
      line += linesOf(skip[0])
      at += skip[0].length
      continue
    }
    const character = text[at] ?? ''
    const doc = character === '<' ? take(heredoc) : null
    const digits = take(number)
    const name = take(word)
    if (doc !== null) {
      const { value, length } = readHeredoc(text, at, { mark: doc[2] ?? '', indented: doc[1] === '-', line })
      push({ kind: 'string', text: '<<', value }, length)
    } else if (character === '"') {
      const { value, length } = readString(text, at, line)
      push({ kind: 'string', text: text.slice(at, at + length), value }, length)
    } else if (digits !== null)
      push({ kind: 'number', text: digits[0], value: Number(digits[0]) }, digits[0].length)
    else if (name !== null) push({ kind: 'word', text: name[0] }, name[0].length)
    else if (signs.includes(character)) push({ kind: 'sign', text: character }, 1)
    else throw new HclError(line, JSON.stringify(character), 'a key, a value or one of { } [ ] = ,')
  }
  return [...tokens, { kind: 'end', text: 'the end', line }]
}

function linesOf(text: string): number {
  return text.split('\n').length - 1
}

interface Read {
  readonly value: string
  readonly length: number
}

function readString(text: string, from: number, line: number): Read {
  let value = ''
  for (let at = from + 1; at < text.length; at++) {
    const character = text[at] ?? ''
    if (character === '"') return { value, length: at + 1 - from }
    if (character === '\n') break
    if (character !== '\\') {
      value += character
      continue
    }
    at++
    const kind = text[at] ?? ''
    const hex = kind === 'u' ? text.slice(at + 1, at + 5) : kind === 'x' ? text.slice(at + 1, at + 3) : ''
    if (/^(?:[0-9A-Fa-f]{2}){1,2}$/.test(hex) && hex.length === (kind === 'u' ? 4 : 2)) {
      value += String.fromCharCode(Number.parseInt(hex, 16))
      at += hex.length
      continue
    }
    const escaped = escapes[kind]
    if (escaped === undefined || !Object.hasOwn(escapes, kind))
      throw new HclError(line, JSON.stringify(`\\${kind}`), 'an escape that HCL knows')
    value += escaped
  }
  throw new HclError(line, 'a string without an end', '" before the end of the line')
}

function readHeredoc(
  text: string,
  from: number,
  { mark, indented, line }: { readonly mark: string; readonly indented: boolean; readonly line: number },
): Read {
  const start = text.indexOf('\n', from) + 1
  const lines: string[] = []
  for (let at = start; at < text.length; ) {
    const next = text.indexOf('\n', at)
    const end = next < 0 ? text.length : next
    const row = text.slice(at, end)
    if (row.trim() === mark) {
      const least = Math.min(
        ...lines.filter(one => one.trim() !== '').map(one => one.length - one.trimStart().length),
      )
      const cut = indented && Number.isFinite(least) ? least : 0
      return { value: lines.map(one => `${one.slice(cut)}\n`).join(''), length: end - from }
    }
    lines.push(row)
    at = end + 1
  }
  throw new HclError(line, 'a heredoc without an end', `a line that says ${mark}`)
}
