import assert from 'node:assert/strict'
import test from 'node:test'
import { overridesFrom } from '../../src/cli/settings.ts'
import { processSettings } from '../../src/config/config.ts'

// Consul: allowed are TRACE DEBUG INFO WARN ERR ERROR, without regard to case.
for (const [said, meant] of [
  ['TRACE', 'trace'],
  ['Debug', 'debug'],
  ['INFO', 'info'],
  ['wArN', 'warn'],
  ['ERR', 'error'],
  ['err', 'error'],
  ['ERROR', 'error'],
] as const) {
  test(`--log-level ${said} is ${meant}`, () => {
    assert.equal(processSettings(overridesFrom({ logLevel: said }, {})).logLevel, meant)
  })
}

test('--log-level takes no other word', () => {
  for (const logLevel of ['', 'WARNING', 'FATAL', 'err ', '1'])
    assert.throws(() => processSettings(overridesFrom({ logLevel }, {})), { message: /--log-level: got/ })
})
