// The search through all output at the end of a run: it finds what is there, whoever wrote it.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'node:test'
import { findSecrets } from '../support/secrets.ts'

const token = '0a1b2c3d-0000-4000-8000-0123456789ab'

for (const [what, text, found] of [
  ['a token in a line of a log', `INFO ready token=${token}\n`, `command.out: ${token.slice(0, 6)}…`],
  // Split, so that the output of this very suite does not hold one.
  ['a PEM key', `-----BEGIN EC PRIVATE ${'KEY'}-----\n`, 'command.out: a PEM private key'],
] as const) {
  test(`${what} is found, in a folder below as well, and not shown`, t => {
    const folder = mkdtempSync(join(tmpdir(), 'sidesplice-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const secrets = join(folder, 'secrets.txt')
    writeFileSync(secrets, `${token}\nshort\n`)
    writeFileSync(join(folder, 'clean.out'), `INFO ready short ${token.slice(0, 20)}\n`)
    assert.deepEqual(findSecrets(folder, secrets), [])
    writeFileSync(join(folder, 'command.out'), text)
    assert.deepEqual(findSecrets(folder, secrets), [found])
    mkdirSync(join(folder, 'below'))
    writeFileSync(join(folder, 'below', 'more.out'), text)
    assert.equal(findSecrets(folder, secrets).length, 2)
  })
}
