// No key and no certificate in anything that the sidecar says, however much it is asked to say and whatever goes wrong.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check } from '../support/check.ts'
import { issueLeaf, mesh } from '../support/pki.ts'
import { configText, type Folder, startPair } from '../support/running-sidecar.ts'

/** Every line of a PEM text that is long enough to be no accident, also as JSON would write it. */
function bodyLines(...pems: readonly string[]): readonly string[] {
  return pems.flatMap(pem => pem.split('\n').filter(line => line.length >= 16 && !line.startsWith('-----')))
}

function assertNone(text: string, secrets: readonly string[]): void {
  assert.doesNotMatch(text, /-----BEGIN|PRIVATE KEY/)
  for (const secret of secrets) assert.ok(!text.includes(secret), 'a line of a key or certificate')
}

test('not in the log at its finest, nor at any path, while certificates come, go and fail', async t => {
  const pair = await startPair(t, {
    dbOptions: { args: ['--log-level', 'trace', '--log-json', '--drain', '0'] },
  })
  const { folder, command } = pair.db
  const next = await issueLeaf('db', mesh.root)
  const secrets = bodyLines(
    ...[mesh.root, mesh.db, mesh.web, next].flatMap(({ certPem, keyPem }) => [certPem, keyPem]),
  )
  assert.ok(secrets.length > 20)
  await pair.connect().echoes('hello')
  // The key where the certificate belongs, a key that is cut off, JSON that holds a key, then a good pair.
  const spoilt: readonly (readonly [string, string])[] = [
    ['leaf.pem', next.keyPem],
    ['leaf.key', next.keyPem.slice(0, 150)],
    ['sidecar.json', next.keyPem],
    [
      'sidecar.json',
      JSON.stringify({ service: next.keyPem, [next.keyPem]: next.certPem, drain: next.keyPem }),
    ],
  ]
  for (const [name, text] of spoilt) {
    const before = command.linesWith('refused, the former one stays').length
    await folder.write(name, text)
    command.signal('SIGHUP')
    await command.line('refused, the former one stays', before + 1)
  }
  await folder.writeIdentity(next, mesh.root)
  await pair.db.rewrite({})
  await command.line('certificate taken up', 2)
  await pair.connect().echoes('hello')
  const answers = await Promise.all(
    ['/live', '/ready', '/metrics', '/sessions', '/state'].map(path => pair.db.get(path)),
  )
  command.signal('SIGUSR1')
  await command.stop()
  for (const { body } of answers) assertNone(body, secrets)
  assertNone(command.stdout, secrets)
  assertNone(command.stderr, secrets)
})

test('not in what is said of broken files before the start', async t => {
  const { certPem, keyPem } = mesh.web
  const secrets = bodyLines(certPem, keyPem)
  const spoilt: Readonly<Record<string, readonly string[]>> = {
    'leaf.pem': [keyPem, certPem.slice(0, 300), certPem.replaceAll('M', '!')],
    'leaf.key': [certPem, keyPem.slice(0, 150), keyPem.replaceAll('M', '!')],
    'ca.pem': [keyPem, certPem.slice(0, 300)],
    'sidecar.json': [
      keyPem,
      certPem,
      JSON.stringify({ service: keyPem, admin: keyPem, [keyPem]: 1 }),
      configText({ identity: { cert_file: certPem, key_file: keyPem, ca_file: certPem } }),
    ],
  }
  for (const [name, texts] of Object.entries(spoilt)) {
    const prepare = (text: string) => ({ prepare: (folder: Folder) => folder.write(name, text) })
    for (const checked of await Promise.all(texts.map(text => check(t, {}, prepare(text))))) {
      assert.equal(checked.code, 1, `${name} was accepted`)
      assertNone(checked.problems.join('\n'), secrets)
      assertNone(checked.stdout, secrets)
    }
  }
})
