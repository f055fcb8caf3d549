import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { clientOptions } from '../../src/cli/agent-options.ts'
import { mesh } from '../support/pki.ts'

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), 'sidesplice-'))
  t.after(() => rmSync(made, { recursive: true }))
  return made
}

const https = { httpAddr: 'https://127.0.0.1:8501' }

for (const content of ['', '\n', 'no certificate', '-----BEGIN PUBLIC KEY-----']) {
  test(`roots to verify the agent by that hold ${JSON.stringify(content)} are refused: no others stand in`, t => {
    const caPath = folder(t)
    const caFile = join(caPath, 'ca.pem')
    writeFileSync(caFile, content)
    for (const values of [{ caFile }, { caPath }])
      assert.throws(() => clientOptions({ ...https, ...values }, {}), {
        code: 'agent_file',
        message: /got no PEM certificate/,
      })
  })
}

test('a folder without roots is refused, and one that is emptied later leaves the former in use', t => {
  const caPath = folder(t)
  assert.throws(() => clientOptions({ ...https, caPath }, {}), { code: 'agent_file' })
  const caFile = join(caPath, 'ca.crt')
  writeFileSync(caFile, mesh.root.certPem)
  const { tls } = clientOptions({ ...https, caPath }, {})
  rmSync(caFile)
  assert.equal(tls?.().ca, mesh.root.certPem)
})

for (const [given, sent] of [
  ['operator', 'operator:'],
  ['operator:secret', 'operator:secret'],
] as const) {
  test(`CONSUL_HTTP_AUTH ${given} is sent as ${sent}`, () => {
    assert.equal(clientOptions({}, { CONSUL_HTTP_AUTH: given }).basicAuth, sent)
  })
}

for (const token of ['two words', 'two\nlines', 'b\u00f6se', 'a\u0000b']) {
  test(`a token ${JSON.stringify(token)}, which no header can hold, is refused and not shown`, t => {
    const tokenFile = join(folder(t), 'token')
    writeFileSync(tokenFile, `${token}\n`)
    for (const values of [{ token }, { tokenFile }])
      assert.throws(
        () => clientOptions(values, {}),
        (error: Error) => /expected one word/.test(error.message) && !error.message.includes(token),
      )
  })
}

test('a token file that holds none for a while leaves the former one in use', t => {
  const tokenFile = join(folder(t), 'token')
  writeFileSync(tokenFile, 'first\n')
  const { token } = clientOptions({ tokenFile }, {})
  for (const [content, used] of [
    ['half a tok', 'first'],
    ['', 'first'],
    ['second\n', 'second'],
  ] as const) {
    writeFileSync(tokenFile, content)
    assert.equal(token(), used)
  }
})
