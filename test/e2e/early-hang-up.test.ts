// SIGHUP means reload, also to a command that has not loaded anything yet.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { test } from 'node:test'
import { patienceMs, run } from '../support/command.ts'
import { mesh } from '../support/pki.ts'
import { configText, Folder } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'

test('SIGHUP while the configuration is being read does not end the command', async t => {
  const folder = await Folder.make(t)
  await folder.writeIdentity(mesh.web, mesh.root)
  // A pipe as the file: the command stands still at reading it until something is written.
  const file = folder.file('sidecar.json')
  execFileSync('mkfifo', [file])
  const command = run(t, ['proxy', '--config', file, '--check'])
  const fd = await until(() => openWhereRead(file), 'the command to read its file', patienceMs)
  command.signal('SIGHUP')
  writeSync(fd, configText({}))
  closeSync(fd)
  assert.deepEqual(await command.end(), { code: 0, signal: null })
  assert.match(command.stdout, /: good; /)
})

/** Undefined as long as nobody has the other end open (ENXIO, open(2)). */
function openWhereRead(path: string): number | undefined {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)
  } catch {
    return undefined
  }
}
