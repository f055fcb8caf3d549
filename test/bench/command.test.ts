// `sidesplice bench` as a user types it.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { run } from '../support/command.ts'
import { freePort } from '../support/free-ports.ts'

// All of it at a tenth of its usual length still takes some seconds of a busy machine.
const limitMs = 90_000

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-command-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('alone it measures the machine and a hop, and leaves nothing behind', { timeout: limitMs }, async t => {
  const TMPDIR = folderOf(t)
  const command = run(t, ['bench', '--seconds', '0.2'], { env: { TMPDIR } })
  assert.equal((await command.end(limitMs)).code, 0, command.stderr)
  for (const line of [
    /^kernel TLS: (not )?offered by this kernel$/m,
    /^ {2}aes-128-gcm +\d+\.\d$/m,
    // Of our own where this processor is one for it.
    /^ {2}aes-128-gcm(, of our own)? +\d+\.\d\n {2}aes-256-gcm/m,
    /^ {2}chacha20-poly1305 +\d+\.\d$/m,
    /^loopback, no proxy:$/m,
    /^two sidecars, mutual TLS 1\.3, data plane native:$/m,
    /^ {2}added to a round trip, us +p50 -?\d+, p99 -?\d+$/m,
    /^ {2}CPU-seconds a GB +\d\.\d\d$/m,
    /^ {2}start to ready, ms +\d+$/m,
  ])
    assert.match(command.stdout, line)
  assert.deepEqual(readdirSync(TMPDIR), [])
})

test('a chain that runs is measured against an app of ours', { timeout: limitMs }, async t => {
  const { port } = await freePort()
  const app = run(t, ['bench', '--app', `localhost:${port}`])
  const line = await app.line('the app of a bench listens on')
  const [, address = ''] = /listens on (\S+:\d+);/.exec(line) ?? []
  const command = run(t, ['bench', '--upstream', address, '--seconds', '0.2'])
  assert.equal((await command.end(limitMs)).code, 0, command.stderr)
  assert.match(command.stdout, /^ {2}one stream down, Gbit\/s +\d/m)
  assert.match(command.stdout, /^ {2}new connections a second +\d/m)
  assert.equal((await app.stop()).code, 0)
})

test('a chain that nobody answers on is an error, exit 2', async t => {
  const { port } = await freePort()
  const command = run(t, ['bench', '--upstream', `127.0.0.1:${port}`, '--seconds', '0.2'])
  assert.equal((await command.end()).code, 2)
  assert.match(command.stderr, /^load bulk: 1 x connect ECONNREFUSED$/m)
})

for (const [args, said] of [
  [['--upstream', '127.0.0.1:1', '--app', '127.0.0.1:2'], /got --upstream and --app, expected one of them/],
  [['--seconds', 'long'], /--seconds: got long, expected a number above 0/],
  [['--upstream', 'nowhere'], /--upstream: got nowhere, expected host:port/],
] as const)
  test(`${args.join(' ')} is refused`, async t => {
    const command = run(t, ['bench', ...args])
    assert.equal((await command.end()).code, 1)
    assert.match(command.stderr, said)
  })
