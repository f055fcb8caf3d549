import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { LogFiles } from '../../src/managed/log-file.ts'
import {
  findProcesses,
  formatMark,
  lives,
  markVariable,
  parseMark,
  signal,
  startOf,
} from '../../src/managed/processes.ts'
import { Restarts } from '../../src/managed/restarts.ts'
import { until } from '../support/until.ts'

test('three starts come at once, then each waits twice as long, up to a minute', () => {
  const restarts = new Restarts()
  const waits = Array.from({ length: 10 }, () => {
    restarts.ran(100)
    return restarts.next() / 1_000
  })
  assert.deepEqual(waits, [0, 0, 0, 2, 4, 8, 16, 32, 60, 60])
})

test('ten seconds of health make the count begin again, also after a wait', () => {
  const restarts = new Restarts()
  for (let start = 0; start < 6; start++) restarts.next()
  restarts.ran(9_999)
  assert.ok(restarts.next() > 0)
  restarts.ran(10_000)
  assert.equal(restarts.next(), 0)
})

test('a mark is read as it was written, whatever the names hold', () => {
  const mark = { owner: 'a/b', proxy: 'web/1 %', fingerprint: 'f', accessor: '' }
  assert.deepEqual(parseMark(formatMark(mark)), mark)
  for (const text of ['', 'a/b/c', 'a/b/c/d/e', '%/b/c/d']) assert.equal(parseMark(text), undefined)
})

test('a process is found by its mark, and one that has got its number is left alone', async t => {
  const mark = { owner: `owner-${process.pid}`, proxy: 'p', fingerprint: 'f', accessor: 'a' }
  const child = spawn('sleep', ['100'], {
    detached: true,
    env: { ...process.env, [markVariable]: formatMark(mark) },
  })
  t.after(() => child.kill('SIGKILL'))
  const pid = child.pid ?? 0
  const [found] = await until(() => {
    const all = findProcesses(mark.owner)
    return all.length > 0 && all
  }, 'it to be found')
  assert.deepEqual(found, { pid, startedAt: startOf(pid), group: pid, leads: true, mark })
  assert.deepEqual(findProcesses('somebody else'), [])
  const reused = { pid, startedAt: `${Number(startOf(pid)) - 1}` }
  assert.equal(lives(reused), false)
  signal(reused, 'SIGKILL')
  assert.equal(lives({ pid, startedAt: startOf(pid) ?? '' }), true)
  signal({ pid, startedAt: startOf(pid) ?? '' }, 'SIGKILL')
  await until(() => !lives({ pid, startedAt: found?.startedAt ?? '' }), 'its end')
})

test('a log that is large is cut by copy and truncate, while its writer goes on', t => {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-logs-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const logs = new LogFiles(folder, 100)
  const path = logs.pathOf('web/1')
  const fd = logs.use('web/1', () => openSync(path, 'a'))
  t.after(() => closeSync(fd))
  writeSync(fd, 'short\n')
  logs.rotate('web/1')
  assert.equal(readFileSync(path, 'utf8'), 'short\n')
  writeSync(fd, 'x'.repeat(100))
  logs.rotate('web/1')
  writeSync(fd, 'after\n')
  assert.equal(readFileSync(path, 'utf8'), 'after\n')
  assert.equal(readFileSync(`${path}.1`, 'utf8'), `short\n${'x'.repeat(100)}`)
  for (const file of [path, `${path}.1`]) assert.equal(statSync(file).mode & 0o777, 0o600)
})
