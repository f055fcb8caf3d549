import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { LineSink } from '../../src/cli/line-sink.ts'
import { textLine } from '../../src/cli/logger.ts'
import { until } from '../support/until.ts'

/** A pipe of the kernel, its writing end not blocking. */
function pipe(t: TestContext): { readonly write: number; readonly read: () => string } {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-'))
  const path = join(folder, 'pipe')
  execFileSync('mkfifo', [path])
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  t.after(() => {
    for (const fd of [reader, writer]) closeSync(fd)
    rmSync(folder, { recursive: true })
  })
  const buffer = Buffer.alloc(1 << 20)
  return {
    write: writer,
    read: () => {
      try {
        return buffer.subarray(0, readSync(reader, buffer)).toString()
      } catch {
        return ''
      }
    },
  }
}

const droppedLine = (lines: number) => `dropped ${lines}\n`

const warning = { time: 't', level: 'warn', message: 'm' }

test('lines come out in order', async t => {
  const { write, read } = pipe(t)
  const sink = new LineSink({ fd: write, droppedLine })
  for (let line = 0; line < 3; line++) sink.write(`line ${line}\n`)
  await sink.flush(1_000)
  assert.equal(read(), 'line 0\nline 1\nline 2\n')
})

test('a reader that has stopped costs lines past the bound, and is told how many once it reads again', async t => {
  const { write, read } = pipe(t)
  const line = `${'x'.repeat(1023)}\n`
  const sink = new LineSink({ fd: write, droppedLine, maxBytes: 128 * 1024 })
  for (let at = 0; at < 1_000; at++) sink.write(line)
  assert.equal(sink.dropped, 1_000 - 128, 'nothing was written yet: the bound is all that is held')
  let out = ''
  await until(() => {
    out += read()
    return out.includes('dropped')
  }, 'the line about dropped lines')
  assert.equal(out.split('\n').filter(text => text.startsWith('x')).length, 128)
  assert.ok(out.endsWith('dropped 872\n'))
})

test('the last lines are written out by a process that is about to die, as far as the reader takes them', async t => {
  const { write, read } = pipe(t)
  const sink = new LineSink({ fd: write, droppedLine })
  sink.write('last words\n')
  sink.flushSync(1_000)
  assert.equal(read(), 'last words\n')
  sink.write('x'.repeat(900_000))
  const startedAt = performance.now()
  sink.flushSync(100)
  assert.ok(performance.now() - startedAt < 5_000, 'a reader that does not read does not hold it')
})

test('a reader that is gone loses the lines, counted; one that comes back reads on, and how many it has missed', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'pipe')
  execFileSync('mkfifo', [path])
  const former = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  closeSync(former)
  const sink = new LineSink({ fd: writer, droppedLine })
  for (let line = 1; line <= 3; line++) {
    sink.write(`lost ${line}\n`)
    await until(() => sink.dropped === line, `line ${line} to be counted, ${sink.dropped} were`)
  }
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  sink.write('here\n')
  await sink.flush(1_000)
  const buffer = Buffer.alloc(1024)
  assert.equal(buffer.toString('utf8', 0, readSync(reader, buffer)), 'here\ndropped 3\n')
  assert.equal(sink.dropped, 3)
  for (const fd of [reader, writer]) closeSync(fd)
})

test('a reader that never catches up is told where lines are missing', async t => {
  const { write, read } = pipe(t)
  const sink = new LineSink({ fd: write, droppedLine, maxBytes: 128 * 1024 })
  const text = 'x'.repeat(1000)
  let sent = 0
  let out = ''
  // More between two looks than the pipe and the queue hold: the queue is never empty.
  await until(() => {
    out += read()
    for (let line = 0; line < 400; line++) sink.write(`${sent++} ${text}\n`)
    return out.split('dropped').length > 3
  }, 'three lines about dropped lines')
  let next = 0
  for (const line of out.split('\n').slice(0, -1)) {
    const [word, value] = line.split(' ')
    if (word === 'dropped') next += Number(value)
    else assert.equal(Number(word), next++, 'no line is missing that was not named in its place')
  }
})

test('a text line holds the fields, quoted where they would be ambiguous, without those that JSON leaves out', () => {
  const fields = { peer: 'spiffe://td/svc/web', detail: 'two words', n: 3, list: ['a b'], none: undefined }
  assert.equal(
    textLine({ time: '2026-01-02T03:04:05.678Z', level: 'info', message: 'session ended', fields }),
    '2026-01-02T03:04:05.678Z INFO  session ended peer=spiffe://td/svc/web detail="two words" n=3 list=["a b"]\n',
  )
})

test('a value that JSON can not hold costs no line', () => {
  const itself: Record<string, unknown> = {}
  itself.again = itself
  assert.equal(
    textLine({ ...warning, fields: { big: 1n, itself } }),
    't WARN  m big="1" itself="[object Object]"\n',
  )
})

test('a value can not command a terminal: control characters and what turns text around are escaped', () => {
  const detail = 'a\u009b1mb\u007fc\u202ed\u001b[2J'
  const line = textLine({ ...warning, fields: { detail, list: [detail] } })
  for (const character of line.trimEnd())
    assert.ok(character >= ' ' && character <= '~', JSON.stringify(character))
})

test('a value can not forge a line', () => {
  const line = textLine({ ...warning, fields: { detail: 'x\n2026 INFO forged' } })
  assert.equal(line.split('\n').length, 2)
})

test('a message that names what a registration says can neither forge a line nor command a terminal', () => {
  const message = 'upstream x is not started: LocalBindAddress 10.0.0.1\n2026 INFO ready \u001b[2J\u202e is'
  const line = textLine({ ...warning, message, fields: {} })
  for (const character of line.trimEnd())
    assert.ok(character >= ' ' && character <= '~', JSON.stringify(character))
  assert.match(line, /10\.0\.0\.1\\u000a2026 INFO ready/)
})
