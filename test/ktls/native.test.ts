// The C++ tests that need a kernel with TLS; their program is built outside, by the suite's runner.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { packageRoot } from '../support/command.ts'
import { casesOf } from '../support/doctest.ts'

const limitMs = 5 * 60_000

test('the cases of the relay, the probe and failing calls hold', { timeout: limitMs }, async t => {
  const program = join(packageRoot, '.native-build', 'plain', 'tests', 'kernel-tests')
  const { status, stdout, error } = spawnSync(program, ['--reporters=junit'], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  assert.equal(error, undefined)
  const cases = casesOf(stdout)
  for (const { name, failure } of cases) await t.test(name, () => assert.equal(failure, undefined))
  assert.equal(status, 0, stdout.slice(-4_000))
  assert.ok(cases.length >= 11, `${cases.length} cases`)
})
