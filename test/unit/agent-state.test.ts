import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { memoryStore, openDatabase } from '../../src/agent/database.ts'
import type { QueryRow } from '../../src/agent/rows.ts'
import { State } from '../../src/agent/state.ts'
import { topicOf } from '../../src/agent/topics.ts'
import { SidespliceError } from '../../src/errors.ts'

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'sidesplice-state-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

const query = (Name: string): QueryRow => ({ ID: Name, Name, definition: {} })
const put = (state: State, name: string) => state.write(write => write.put('query', name, query(name)))
const never = new AbortController().signal

test('each write has an index of its own, and a row keeps that of its making', () => {
  const state = new State(memoryStore)
  put(state, 'a')
  const first = state.index
  put(state, 'b')
  put(state, 'a')
  assert.deepEqual(
    [state.get('query', 'a'), state.get('query', 'b')].map(row => [row?.CreateIndex, row?.ModifyIndex]),
    [
      [first, first + 2],
      [first + 1, first + 1],
    ],
  )
})

test('a write that throws changes nothing, neither rows nor index', () => {
  const state = new State(memoryStore)
  put(state, 'a')
  const index = state.index
  const before = state.get('query', 'a')
  assert.throws(() =>
    state.write(write => {
      write.put('query', 'a', query('changed'))
      write.put('query', 'b', query('b'))
      write.delete('query', 'a')
      throw new Error('no')
    }),
  )
  assert.deepEqual([state.index, state.all('query')], [index, [before]])
})

test('a write that the disk refuses is taken back', () => {
  const state = new State({
    ...memoryStore,
    commit: () => {
      throw new Error('disk full')
    },
  })
  assert.throws(() => put(state, 'a'), /disk full/)
  assert.deepEqual(state.all('query'), [])
})

test('who waits is woken by a change of their topic, and by no other', async () => {
  const state = new State(memoryStore)
  const index = state.indexOf([topicOf.intentions])
  let woken = false
  const waiting = state.wait([topicOf.intentions], { index, ms: 60_000, signal: never }).then(() => {
    woken = true
  })
  put(state, 'a')
  await new Promise(setImmediate)
  assert.equal(woken, false)
  state.write(write => write.touch(topicOf.intentions))
  await waiting
  assert.equal(state.waiting, 0)
})

test('who has gone waits no longer', async () => {
  const state = new State(memoryStore)
  const gone = new AbortController()
  const index = state.indexOf([topicOf.queries])
  const waiting = state.wait([topicOf.queries], { index, ms: 60_000, signal: gone.signal })
  assert.equal(state.waiting, 1)
  gone.abort()
  await waiting
  assert.equal(state.waiting, 0)
})

test('what was written is there when the database is opened again, and the index goes on', t => {
  const path = folder(t)
  const first = new State(openDatabase(path))
  put(first, 'a')
  put(first, 'b')
  first.write(write => write.delete('query', 'a'))
  const { index } = first
  first.close()
  const again = new State(openDatabase(path))
  t.after(() => again.close())
  assert.equal(again.index, index)
  assert.deepEqual(
    again.all('query').map(row => row.ID),
    ['b'],
  )
  put(again, 'c')
  assert.equal(again.index, index + 1)
})

test('the log cut at any byte, as by a lost page cache, holds every write that was acknowledged before that', t => {
  const path = folder(t)
  const log = join(path, 'state.db-wal')
  const store = openDatabase(path)
  t.after(() => store.close())
  const acknowledged: { readonly bytes: number; readonly index: number }[] = []
  for (let index = 1; index <= 12; index++) {
    store.commit(index, [
      { kind: 'query', id: `query-${index}`, value: JSON.stringify({ text: 'x'.repeat(index * 700) }) },
    ])
    acknowledged.push({ bytes: statSync(log).size, index })
  }
  const [main, whole] = [readFileSync(join(path, 'state.db')), readFileSync(log)]
  // At the boundary of each write of a frame (its header of 24 bytes, its page), and within each.
  for (let cut = 0; cut <= whole.length; cut += 1_030) {
    const copy = folder(t)
    writeFileSync(join(copy, 'state.db'), main)
    writeFileSync(join(copy, 'state.db-wal'), whole.subarray(0, cut))
    const opened = openDatabase(copy)
    const { index, rows } = opened.load()
    opened.close()
    const least = acknowledged.findLast(({ bytes }) => bytes <= cut)?.index ?? 0
    assert.ok(index >= least, `cut at ${cut}: index ${index}, acknowledged ${least}`)
    assert.deepEqual(
      rows.map(({ id }) => id).toSorted(),
      Array.from({ length: index }, (_, at) => `query-${at + 1}`).toSorted(),
    )
  }
})

test("the database is its owner's alone", t => {
  const path = folder(t)
  const store = openDatabase(path)
  store.commit(1, [{ kind: 'query', id: 'a', value: '{}' }])
  for (const name of ['state.db', 'state.db-wal'])
    assert.equal(statSync(join(path, name)).mode & 0o777, 0o600, name)
  store.close()
})

test('a second agent on the same folder is refused, and the first goes on', t => {
  const path = folder(t)
  const store = openDatabase(path)
  t.after(() => store.close())
  assert.throws(() => openDatabase(path), coded('state_in_use'))
  store.commit(1, [{ kind: 'query', id: 'a', value: '{}' }])
})

for (const [what, damage] of [
  ['empty', file => truncateSync(file, 0)],
  ['no database', file => writeFileSync(file, 'not a database, but text of some length '.repeat(100))],
  ['cut in the middle', file => truncateSync(file, Math.floor(statSync(file).size / 2))],
  [
    'overwritten in a page',
    file => {
      const bytes = readFileSync(file)
      bytes.fill(0xa5, 4_096, 8_192)
      writeFileSync(file, bytes)
    },
  ],
] as const satisfies readonly (readonly [string, (file: string) => void])[]) {
  test(`a database that is ${what} is refused with what to do, and left as it is`, t => {
    const path = folder(t)
    const state = new State(openDatabase(path))
    for (let at = 0; at < 50; at++) put(state, `query-${at}`)
    state.close()
    const file = join(path, 'state.db')
    damage(file)
    const bytes = readFileSync(file)
    assert.throws(() => openDatabase(path), coded('state_damaged', /Restore it from a copy, or move it away/))
    assert.deepEqual(readFileSync(file), bytes)
  })
}

test("another program's database is refused", async t => {
  const path = folder(t)
  const { DatabaseSync } = await import('node:sqlite')
  const other = new DatabaseSync(join(path, 'state.db'))
  other.exec('CREATE TABLE theirs (a)')
  other.close()
  assert.throws(() => openDatabase(path), coded('state_damaged', /not a database of this agent/))
})

function coded(code: string, message = /./) {
  return (error: unknown) => {
    assert.ok(error instanceof SidespliceError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, message)
    return true
  }
}
