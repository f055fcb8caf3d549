// A changed allow list is taken up however the file comes to change, and ends what it denies.
import assert from 'node:assert/strict'
import { readlinkSync } from 'node:fs'
import { mkdir, rename, symlink } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import { openBlackHole } from '../support/black-hole.ts'
import { run } from '../support/command.ts'
import { echo, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { mesh, spiffeId } from '../support/pki.ts'
import {
  configText,
  Folder,
  type Pair,
  type RunningSidecar,
  type SidecarFile,
  startPair,
  startSidecar,
} from '../support/running-sidecar.ts'
import { tlsConnect } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'

// What the issue promises from the moment that the change is taken up.
const withinMs = 1_000

const allowing = ({ db }: Pair, ...allow: readonly string[]): SidecarFile => {
  const { inbound } = db.config
  assert.ok(inbound !== undefined)
  return { ...db.config, inbound: { ...inbound, allow } }
}

describe('a denied live session ends, and an allowed one goes on', { concurrency: 2 }, () => {
  const changes: Readonly<Record<string, (db: RunningSidecar, config: SidecarFile) => Promise<void>>> = {
    'by a write in place': (db, config) => db.folder.writeConfig(config),
    'by a rename over the file': (db, config) => db.folder.replace('sidecar.json', configText(config)),
  }
  for (const [title, change] of Object.entries(changes)) {
    test(title, async t => {
      const pair = await startPair(t, { allow: [spiffeId('web'), spiffeId('api')] })
      const client = pair.connect()
      await client.echoes('before')
      await change(pair.db, allowing(pair, spiffeId('web')))
      await pair.db.applied(2)
      await client.echoes(' allowed still')
      await change(pair.db, allowing(pair, spiffeId('api')))
      assert.match(await pair.db.applied(3), / sessions_ended=1$/)
      const appliedAt = performance.now()
      await client.fails()
      assert.ok(performance.now() - appliedAt < withinMs)
      const line = await pair.db.command.line('session ended')
      assert.match(line, new RegExp(` peer=${spiffeId('web')} .* reason=no_longer_allowed$`))
      await until(() => pair.app.connections[0]?.closed, 'the app to see the end')
      const refused = pair.connect()
      await refused.isOver()
      assert.equal(pair.app.connections.length, 1)
    })
  }
})

test("by a symlink that is swapped, as Kubernetes does with a volume's ..data", async t => {
  const app = await openApp(t, { serve: echo })
  const folder = await Folder.make(t)
  await folder.writeIdentity(mesh.db, mesh.root)
  const address = await freePort()
  // The file is a link into a folder that is itself a link, to the current version.
  for (const [version, allow] of [
    ['v1', [spiffeId('web')]],
    ['v2', [spiffeId('api')]],
  ] as const) {
    await mkdir(folder.file(version))
    const identity = { cert_file: '../leaf.pem', key_file: '../leaf.key', ca_file: '../ca.pem' }
    const listen = formatAddress(address)
    const local_service_address = formatAddress(app.address)
    const inbound = { listen, local_service_address, allow }
    const text = configText({ service: 'db', identity, inbound, log_level: 'debug' })
    await folder.write(`${version}/sidecar.json`, text)
  }
  await symlink('v1', folder.file('..data'))
  await mkdir(folder.file('mounted'))
  await symlink('../..data/sidecar.json', folder.file('mounted/sidecar.json'))
  const command = run(t, ['proxy', '--config', folder.file('mounted/sidecar.json')])
  await command.line(' ready ')
  // The look behind the start, which counts as a change whatever the file's kind, must not be what finds the swap.
  await command.line('configuration unchanged because="a changed file"')
  const peer = tlsConnect(t, address, { certificate: mesh.web, root: mesh.root })
  await peer.echoes('hello')
  await symlink('v2', folder.file('..data_tmp'))
  await rename(folder.file('..data_tmp'), folder.file('..data'))
  assert.equal(readlinkSync(folder.file('..data')), 'v2')
  assert.match(await command.line('configuration applied', 2), / sessions_ended=1$/)
  await peer.isOver()
})

test('SIGHUP takes a change up at once', async t => {
  const pair = await startPair(t, { db: { log_level: 'debug' } })
  await pair.db.command.line('configuration unchanged because="a changed file"')
  const client = pair.connect()
  await client.echoes('before')
  await pair.db.folder.writeConfig(allowing(pair, spiffeId('api')))
  pair.db.command.signal('SIGHUP')
  await pair.db.command.line('configuration changed because=SIGHUP')
  await client.fails()
  assert.match(await pair.db.applied(2), / sessions_ended=1$/)
})

test('SIGHUP without a change changes nothing and ends nothing', async t => {
  const pair = await startPair(t, { db: { log_level: 'debug' } })
  const client = pair.connect()
  await client.echoes('before')
  const before = await pair.db.json<{ generation: number }>('/state')
  pair.db.command.signal('SIGHUP')
  await pair.db.command.line('configuration unchanged because=SIGHUP')
  await client.echoes(' and after')
  assert.equal((await pair.db.json<{ generation: number }>('/state')).generation, before.generation)
})

test('a session whose app is still being dialed ends too', async t => {
  const listen = await freePort()
  const db = await startSidecar(t, {
    service: 'db',
    inbound: {
      listen: formatAddress(listen),
      local_service_address: formatAddress(await openBlackHole(t)),
      allow: [spiffeId('web')],
    },
    local_connect_timeout_ms: 60_000,
  })
  const peer = tlsConnect(t, listen, { certificate: mesh.web, root: mesh.root })
  await db.eventually(
    async () => (await db.json<{ state: string }[]>('/sessions')).some(({ state }) => state === 'dialing'),
    'a session that dials',
  )
  const { inbound } = db.config
  assert.ok(inbound !== undefined)
  await db.rewrite({ inbound: { ...inbound, allow: [] } })
  assert.match(await db.applied(2), / sessions_ended=1$/)
  await peer.isOver()
  assert.match(await db.command.line('session ended'), / reason=no_longer_allowed$/)
})
