// HCL 1 as Consul reads it: assignments, blocks with and without labels, repeated blocks, lists, heredocs. Text in, plain values out.
import { HclDepthError, HclError, type Token, tokenize } from './hcl-tokens.ts'

export { HclDepthError, HclError } from './hcl-tokens.ts'

export type HclValue = string | number | boolean | readonly HclValue[] | { readonly [key: string]: HclValue }

// More than any definition has; less than the stack holds.
const deepest = 32

/** Objects of one key, in order: one is the object itself in the end, several are a list (Consul decodes them so). */
class Blocks {
  readonly items: Entries[] = []
}

type Entries = Map<string, Value>
type Value = string | number | boolean | Blocks | readonly Value[]

/** @throws HclError */
export function parseHcl(text: string): { readonly [key: string]: HclValue } {
  const parser = new Parser(tokenize(text))
  return plainEntries(parser.entries('end', 0))
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  entries(until: 'end' | '}', depth: number): Entries {
    if (depth > deepest) throw this.#tooDeep('blocks')
    const entries: Entries = new Map()
    for (;;) {
      const token = this.#peek()
      if (until === 'end' ? token.kind === 'end' : this.#isSign('}')) {
        this.#at++
        return entries
      }
      this.#entry(entries, depth)
      if (this.#isSign(',')) this.#at++
    }
  }

  #entry(entries: Entries, depth: number): void {
    const key = this.#key()
    if (this.#isSign('=')) {
      this.#at++
      this.#put(entries, key, this.#value(depth))
      return
    }
    const labels: string[] = []
    while (!this.#isSign('{')) {
      labels.push(this.#key())
      // Each is a block of its own in the end.
      if (depth + labels.length > deepest) throw this.#tooDeep('blocks')
    }
    this.#at++
    let inner: Entries = this.entries('}', depth + 1)
    // `service "web" {}` is `service { web {} }`.
    for (const label of labels.toReversed()) inner = new Map([[label, blocksOf(inner)]])
    this.#put(entries, key, blocksOf(inner))
  }

  #put(entries: Entries, key: string, value: Value): void {
    const before = entries.get(key)
    if (before === undefined) entries.set(key, value)
    else if (before instanceof Blocks && value instanceof Blocks) before.items.push(...value.items)
    else throw this.#wrong(`key ${JSON.stringify(key)} once`)
  }

  #key(): string {
    const token = this.#peek()
    if (token.kind !== 'word' && token.kind !== 'string') throw this.#wrong('a key')
    this.#at++
    return token.kind === 'string' ? String(token.value) : token.text
  }

  #value(depth: number): Value {
    const token = this.#peek()
    this.#at++
    if (token.kind === 'string') return String(token.value)
    if (token.kind === 'number') return Number(token.value)
    if (token.kind === 'word' && (token.text === 'true' || token.text === 'false'))
      return token.text === 'true'
    if (token.text === '{' && token.kind === 'sign') return blocksOf(this.entries('}', depth + 1))
    if (token.text === '[' && token.kind === 'sign') return this.#list(depth + 1)
    this.#at--
    throw this.#wrong('a value: text in quotes, a number, true, false, a list or an object')
  }

  #list(depth: number): readonly Value[] {
    if (depth > deepest) throw this.#tooDeep('lists')
    const values: Value[] = []
    while (!this.#isSign(']')) {
      values.push(this.#value(depth))
      if (this.#isSign(',')) this.#at++
      else if (!this.#isSign(']')) throw this.#wrong('"," or "]"')
    }
    this.#at++
    return values
  }

  #isSign(sign: string): boolean {
    const token = this.#peek()
    return token.kind === 'sign' && token.text === sign
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? (this.#tokens.at(-1) as Token)
  }

  #tooDeep(what: 'blocks' | 'lists'): HclError {
    const { line, got, expected } = this.#wrong(`${what} at most ${deepest} deep`)
    return new HclDepthError(line, got, expected)
  }

  #wrong(expected: string): HclError {
    const { line, text, kind } = this.#peek()
    // Text in quotes may be a token: it is named, not shown.
    return new HclError(line, kind === 'string' ? 'text in quotes' : JSON.stringify(text), expected)
  }
}

function blocksOf(entries: Entries): Blocks {
  const blocks = new Blocks()
  blocks.items.push(entries)
  return blocks
}

function plainEntries(entries: Entries): { readonly [key: string]: HclValue } {
  // Not by assignment: `__proto__` is a key like any other.
  return Object.fromEntries([...entries].map(([key, value]) => [key, plain(value)]))
}

function plain(value: Value): HclValue {
  if (value instanceof Blocks) {
    const [first, ...more] = value.items
    if (first !== undefined && more.length === 0) return plainEntries(first)
    return value.items.map(plainEntries)
  }
  return Array.isArray(value) ? value.map(plain) : (value as string | number | boolean)
}
