// The files of the state as a power loss leaves them at any moment: whatever the page cache held and the disk did not have is gone.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { openDatabase } from '../../src/agent/database.ts'
import { bin, build, Command } from '../support/command.ts'
import { Disk, losses, readTrace, tracedCalls } from '../support/file-trace.ts'
import { freePort } from '../support/free-ports.ts'

// SQLite copies its log into the database at 1,000 pages of 4 KiB (https://sqlite.org/wal.html#ckpt), and then writes it from its
// beginning again: the large ones bring that about once, the small ones come before and behind it. The end of a round copies as well.
const rounds = [[...sizes(8, 100), ...sizes(9, 480_000), ...sizes(8, 100)], [...sizes(8, 100)]] as const
// Thousands of copies of megabytes need no disk.
const memory = '/dev/shm'
// A field holds this much at the most.
const fieldBytes = 8_000

test('the files cut at the boundary of each write, by whatever of the page cache is lost, open with every acknowledged write', async t => {
  build()
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-cache-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const state = join(folder, 'state')
  const traces: string[] = []
  for (const [round, bodies] of rounds.entries()) {
    const trace = join(folder, `trace-${round}`)
    const { port } = await freePort()
    const child = spawn(
      'strace',
      [
        // -D: the child is the agent, and strace stands beside it. -s: a page, and more.
        ...['-D', '-f', '-y', '-xx', '-s', '70000', '-o', trace, '-e', tracedCalls],
        ...[process.execPath, bin, 'agent', '--data-dir', state, '--http-port', String(port)],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    const command = new Command(child)
    t.after(() => command.ended ?? command.stop('SIGTERM'))
    await command.line('agent is up')
    for (const [at, bytes] of bodies.entries()) {
      const response = await fetch(`http://127.0.0.1:${port}/v1/connect/intentions`, {
        method: 'POST',
        body: JSON.stringify({
          ...{ SourceName: `s${round}-${at}`, DestinationName: 'db', Action: 'deny' },
          Meta: Object.fromEntries(
            sizes(Math.ceil(bytes / fieldBytes), 0).map((_, field) => [`m${field}`, 'x'.repeat(fieldBytes)]),
          ),
        }),
      })
      assert.equal(response.status, 200)
    }
    await command.stop()
    traces.push(readFileSync(trace, 'latin1'))
  }
  const calls = traces.flatMap(trace => readTrace(trace, state, /^HTTP\/1\.1 200/))
  const names = rounds.flatMap((bodies, round) => bodies.map((_, at) => `s${round}-${at}`))
  const disk = new Disk()
  const copies = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), 'sidesplice-cache-'))
  t.after(() => rmSync(copies, { recursive: true, force: true }))
  const copy = join(copies, 'state')
  const tally = { calls: 0, opened: 0, checkpoints: 0 }
  let acknowledged = 0
  let made = false
  for (const call of calls) {
    disk.apply(call)
    if (call.kind === 'said') acknowledged++
    if (call.kind === 'rename' && call.to === 'state.db') made = true
    if (call.kind === 'write' && call.name === 'state.db' && made) tally.checkpoints++
    // Either leaves the files as they were.
    if (call.kind === 'create' || call.kind === 'sync') continue
    tally.calls++
    for (const [lost, arrived] of Object.entries(losses)) {
      if (!tellsMore(lost, disk.unsynced, call.kind)) continue
      rmSync(copy, { recursive: true, force: true })
      mkdirSync(copy, { recursive: true })
      for (const [name, content] of disk.after(arrived)) writeFileSync(join(copy, name), content)
      const there = intentionsOf(copy)
      tally.opened++
      const missing = names.slice(0, acknowledged).filter(name => !there.includes(name))
      assert.deepEqual(
        missing,
        [],
        `${lost} lost behind ${JSON.stringify(call).slice(0, 90)}, call ${tally.calls}`,
      )
      // And no write is there without those before it.
      assert.deepEqual(there, names.slice(0, there.length))
    }
  }
  t.diagnostic(
    `${tally.calls} calls, ${tally.opened} states, ${tally.checkpoints} pages copied into the database`,
  )
  assert.equal(acknowledged, names.length)
  assert.ok(tally.checkpoints > 1_000, 'the log was copied into the database while it ran')
})

function sizes(count: number, bytes: number): readonly number[] {
  return Array.from({ length: count }, () => bytes)
}

/**
 * Whether this loss leaves other files than those that were looked at already: all of what was not synced is the same until the next
 * sync, and of a write of many pages, where any part of it may be missing, each sixty-fourth is enough. What was written up to each call is
 * looked at behind each.
 */
function tellsMore(lost: string, unsynced: number, kind: string): boolean {
  if (lost === 'nothing') return true
  if (lost === 'everything') return unsynced === 1 || (unsynced > 0 && kind === 'said')
  return unsynced > 1 && (unsynced < 16 || unsynced % 64 === 0 || kind === 'said')
}

/** By whom, in the order of their making. */
function intentionsOf(folder: string): readonly string[] {
  const store = openDatabase(folder)
  try {
    return store
      .load()
      .rows.filter(({ kind }) => kind === 'intention')
      .map(({ value }) => JSON.parse(value) as { CreateIndex: number; SourceName: string })
      .toSorted((a, b) => a.CreateIndex - b.CreateIndex)
      .map(({ SourceName }) => SourceName)
  } finally {
    store.close()
  }
}
