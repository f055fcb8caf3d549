// The C++ tests of the addon's code below binding/, each a test of its own here: plain, under AddressSanitizer with
// UndefinedBehaviorSanitizer, under ThreadSanitizer; the simulator's schedules; then the fuzzers, for a bounded time
// (SIDESPLICE_FUZZ_SECONDS each).
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { packageRoot } from '../support/command.ts'
import { casesOf } from '../support/doctest.ts'

interface Variant {
  readonly name: string
  readonly sanitize: string
  /** Cases that it runs; all where there is none. */
  readonly only?: string
  /** Of the simulator; it is one thread, of which ThreadSanitizer has nothing to say. */
  readonly schedules?: number
}

const variants: readonly Variant[] = [
  { name: 'plain', sanitize: '', schedules: 100_000 },
  { name: 'address', sanitize: 'address', schedules: 5_000 },
  // What is of one thread has no race: the reactor, the relay, what it may own, workers and handshake threads, what handshakes of many
  // threads share, the engine under load and its failing calls.
  {
    name: 'thread',
    sanitize: 'thread',
    only: '*reactor_test*,*relay_*test*,*buffer_memory_test*,*engine_test*,*faults_test*,*worker_test*,*handshake_thread_test*,*ticket*_test*',
  },
]
const fuzzers = ['relay', 'handshake', 'certificate', 'ticket'] as const
const fuzzSeconds = Number(process.env.SIDESPLICE_FUZZ_SECONDS ?? '20')
/** SIDESPLICE_SEED as the C++ tests have it, or a fixed one: each run of the same code is the same run. */
const firstSeed = Number(process.env.SIDESPLICE_SEED ?? '1')
const buildLimitMs = 15 * 60_000
const runLimitMs = 10 * 60_000

for (const variant of variants) {
  describe(variant.name, () => {
    const build = join(packageRoot, '.native-build', variant.name)
    const results = join(build, 'results.xml')
    before(
      async () => {
        await run('cmake', ['-G', 'Ninja', '-S', 'native', '-B', build, `-DSANITIZE=${variant.sanitize}`])
        await run('cmake', ['--build', build, '-j', '2'])
      },
      { timeout: buildLimitMs },
    )

    test('its cases hold', { timeout: runLimitMs }, async t => {
      rmSync(results, { force: true })
      const only = variant.only === undefined ? [] : [`--source-file=${variant.only}`]
      const program = join(build, 'tests', 'native-tests')
      const ended = await end(program, ['--reporters=junit', `--out=${results}`, ...only])
      const cases = existsSync(results) ? casesOf(readFileSync(results, 'utf8')) : []
      for (const { name, failure } of cases) await t.test(name, () => assert.equal(failure, undefined))
      // A sanitizer that found something ends the program, or changes its code, without a case that failed.
      assert.equal(ended.code, 0, ended.output.slice(-4_000))
      assert.ok(cases.length > 20, `${cases.length} cases`)
    })

    if (variant.schedules === undefined) return
    test('every schedule of the simulator ends as it must', { timeout: runLimitMs }, async t => {
      const args = ['--seed', String(firstSeed), '--schedules', String(variant.schedules)]
      const output = await run(join(build, 'tests', 'native-simulator'), args)
      t.diagnostic(output.split('\n')[0] ?? '')
      // That it said so, and that sessions were carried in them.
      assert.match(
        output,
        new RegExp(`^${variant.schedules} schedules from seed ${firstSeed}: \\d+ sessions`, 'm'),
      )
      const closed = Number(/^ {2}closed +(\d+)$/m.exec(output)?.[1])
      assert.ok(closed > (variant.schedules ?? 0) / 10, output)
    })

    test('a schedule told line by line is the one that its seed was', { timeout: runLimitMs }, async () => {
      const program = join(build, 'tests', 'native-simulator')
      const hashOf = (output: string) => /hash ([0-9a-f]{16})$/m.exec(output)?.[1]
      const silent = await run(program, ['--seed', '7', '--schedules', '1'])
      const told = await run(program, ['--seed', '7', '--schedules', '1', '--trace'])
      assert.ok(hashOf(silent) !== undefined)
      assert.equal(hashOf(told), hashOf(silent))
      assert.notEqual(hashOf(await run(program, ['--seed', '8', '--schedules', '1'])), hashOf(silent))
    })
  })
}

describe('fuzzers', () => {
  before(() => run('bash', ['scripts/fuzz.sh', '1', 'certificate']), { timeout: buildLimitMs })
  for (const name of fuzzers) {
    test(`${name}: any bytes, and nothing that must not be`, {
      timeout: fuzzSeconds * 1_000 + runLimitMs,
    }, async t => {
      const output = await run('bash', ['scripts/fuzz.sh', String(fuzzSeconds), name])
      const executed = Number(/stat::number_of_executed_units: (\d+)/.exec(output)?.[1])
      t.diagnostic(`${executed} inputs in ${fuzzSeconds} s`)
      assert.ok(executed > 100, `${executed} inputs`)
    })
  }
})

async function run(program: string, args: readonly string[]): Promise<string> {
  const { code, output } = await end(program, args)
  assert.equal(code, 0, `${program} ${args.join(' ')}\n${output.slice(-4_000)}`)
  return output
}

function end(program: string, args: readonly string[]): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: packageRoot,
      env: {
        ...process.env,
        TSAN_OPTIONS: `suppressions=${join(packageRoot, 'test/native/thread-sanitizer.supp')}`,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const from of [child.stdout, child.stderr]) from.on('data', (chunk: Buffer) => (output += chunk))
    child.once('error', reject)
    child.once('close', code => resolve({ code, output }))
  })
}
