// However a process, or a thread of it, ends while sessions live: it ends, by the code that it should, and never by a crash.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { type TestContext, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Command } from '../support/command.ts'
import { conformance, type DataPlaneUnderTest } from '../support/data-planes.ts'
import { exitCode, type Order } from '../support/exit-order.ts'

const script = fileURLToPath(new URL('../support/exit-child.ts', import.meta.url))

conformance('a process with live sessions', plane => {
  const loads: readonly (readonly [string, Order['sessions']])[] = [
    ['under load', 'relaying'],
    ['during handshakes', 'handshaking'],
  ]
  for (const [when, sessions] of loads) {
    test(`ends by process.exit ${when}`, async t => {
      const child = await run(t, plane, { way: 'exit', sessions })
      assert.deepEqual(child.ended, { code: exitCode, signal: null }, child.stderr)
    })

    test(`ends by an uncaught exception ${when}`, async t => {
      const child = await run(t, plane, { way: 'throw', sessions })
      assert.deepEqual(child.ended, { code: 1, signal: null }, child.stderr)
      assert.match(child.stderr, /Error: as was asked for/)
    })

    test(`ends by an error that its policy throws ${when}`, async t => {
      const child = await run(t, plane, { way: 'policy throws', sessions })
      assert.deepEqual(child.ended, { code: 1, signal: null }, child.stderr)
      assert.match(child.stderr, /Error: as was asked for/)
    })

    test(`outlives a thread of JavaScript that is terminated ${when}`, async t => {
      const child = await run(t, plane, { way: 'terminate', sessions })
      assert.deepEqual(child.ended, { code: exitCode, signal: null }, child.stderr)
      assert.match(child.stdout, /thread ended by 1\n/)
    })

    test(`outlives a thread of JavaScript that ends itself ${when}`, async t => {
      const child = await run(t, plane, { way: 'thread ends', sessions })
      assert.deepEqual(child.ended, { code: exitCode, signal: null }, child.stderr)
      assert.match(child.stdout, new RegExp(`thread ended by ${exitCode}\n`))
    })

    test(`ends by itself once the data planes are closed ${when}, with a record of every session`, async t => {
      const child = await run(t, plane, { way: 'close', sessions })
      assert.deepEqual(child.ended, { code: exitCode, signal: null }, child.stderr)
      const [, ...counts] = /ended (\d+) of (\d+), (\d+) of (\d+)\n/.exec(child.stdout) ?? []
      const [ofA, acceptedByA, ofB, acceptedByB] = counts.map(Number)
      assert.deepEqual([ofA, ofB], [acceptedByA, acceptedByB], child.stdout)
      assert.ok(Number(ofB) > 0, child.stdout)
    })
  }

  test('may close and use what is closed as often as it likes', async t => {
    const child = await run(t, plane, { way: 'use what is closed', sessions: 'relaying' })
    assert.deepEqual(child.ended, { code: exitCode, signal: null }, child.stderr)
  })
})

async function run(
  t: TestContext,
  { name }: DataPlaneUnderTest,
  order: Omit<Order, 'plane'>,
): Promise<Command> {
  const whole: Order = { plane: name, ...order }
  const args = ['--disable-warning=ExperimentalWarning', script, JSON.stringify(whole)]
  const child = new Command(spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] }))
  t.after(() => child.child.kill('SIGKILL'))
  await child.end()
  return child
}
