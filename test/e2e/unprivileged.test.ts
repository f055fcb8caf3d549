// A sidecar that runs as a user without rights: it needs none, and says what it can't read.
import assert from 'node:assert/strict'
import { chmod, chown } from 'node:fs/promises'
import { test } from 'node:test'
import { run } from '../support/command.ts'
import { mesh } from '../support/pki.ts'
import { Folder, startPair } from '../support/running-sidecar.ts'
import { worldReadable } from '../support/world-readable.ts'

// Debian's nobody and nogroup; a run that is not root's is without rights as it is.
const root = process.getuid?.() === 0
const nobody = root ? { uid: 65_534, gid: 65_534 } : {}

test('a sidecar without rights carries traffic', async t => {
  const folders = [await Folder.make(t), await Folder.make(t)] as const
  const own = async ({ path }: Folder) => {
    if (root) await chown(path, 65_534, 65_534)
  }
  for (const folder of folders) {
    await own(folder)
    await folder.makeReadableByAll()
  }
  // The tests write the files as root: what is given to nobody is the right to read them.
  const readable = (folder: Folder) => {
    const write = folder.write.bind(folder)
    folder.write = async (name, text) => {
      await write(name, text)
      await chmod(folder.file(name), 0o644)
    }
    return folder
  }
  const command = { ...nobody, ...worldReadable(t) }
  const pair = await startPair(t, {
    dbOptions: { ...command, folder: readable(folders[0]) },
    webOptions: { ...command, folder: readable(folders[1]) },
  })
  await pair.connect().echoes('hello')
  assert.match(
    await pair.db.command.line('every user'),
    / WARN .*private key can be read by every user of this machine/,
  )
})

test('a key that it may not read is named, and nothing starts', async t => {
  const folder = await Folder.make(t)
  await folder.makeReadableByAll()
  await folder.writeIdentity(mesh.web, mesh.root)
  await folder.writeConfig({ upstreams: [] })
  for (const name of ['sidecar.json', 'leaf.pem', 'ca.pem']) await chmod(folder.file(name), 0o644)
  await chmod(folder.file('leaf.key'), 0o000)
  const command = run(t, ['proxy', '--config', folder.file('sidecar.json')], {
    ...nobody,
    ...worldReadable(t),
  })
  assert.equal((await command.end()).code, 1)
  assert.match(command.stderr, /^\S+leaf\.key: identity\.key_file: got EACCES, expected [^\n]+\n$/)
  assert.equal(command.stdout, '')
})
