import assert from 'node:assert/strict'
import test from 'node:test'
import { fromGoSpelling } from '../../src/cli/go-flags.ts'

for (const flag of ['register', 'stale', 'log-json', 'unsafe-upstream-bind', 'consul-metrics']) {
  test(`-${flag} takes a value as in Go, and no other word`, () => {
    for (const yes of [`-${flag}`, `-${flag}=true`, `--${flag}=1`, `-${flag}=T`])
      assert.deepEqual(fromGoSpelling([yes]), [`--${flag}`], yes)
    for (const no of [`-${flag}=false`, `--${flag}=0`]) assert.deepEqual(fromGoSpelling([no]), [], no)
    assert.deepEqual(fromGoSpelling([`-${flag}=maybe`]), [`--${flag}=maybe`])
  })
}

test('of a boolean that is given more than once the last one counts', () => {
  assert.deepEqual(fromGoSpelling(['-register', '-stale', '-register=false']), ['--stale'])
  assert.deepEqual(fromGoSpelling(['-register=false', '-register']), ['--register'])
})

test('what follows two dashes, and the value of a flag that is none of these, is left alone', () => {
  const args = ['--upstream=db:9191', '--', '-register=false']
  assert.deepEqual(fromGoSpelling(args), args)
})
