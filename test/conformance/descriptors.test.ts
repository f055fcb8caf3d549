// A process without file descriptors left: what lives goes on, the listener survives, and all is well once some are free.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { conformance, type DataPlaneUnderTest } from '../support/data-planes.ts'
import type { FromChild, ToChild } from '../support/descriptor-child.ts'
import { type App, echo, openApp } from '../support/ends.ts'
import { mesh } from '../support/pki.ts'
import { tlsConnect } from '../support/tls-peers.ts'
import { until } from '../support/until.ts'

const descriptors = 256
const flood = 300

conformance('file descriptors', plane => {
  test('running out of them costs the connections that are too many, and nothing else', async t => {
    const app = await openApp(t, { serve: echo })
    const child = await openChild(t, plane, app)
    const dial = () => tlsConnect(t, child.address, { certificate: mesh.web, root: mesh.root })
    const living = Array.from({ length: 5 }, dial)
    for (const client of living) await client.echoes('before')

    const many = Array.from({ length: flood }, dial)
    for (const client of many) client.send('hello')
    const another = plane.open({ policy: { admit() {}, route() {}, ended() {} } })
    const { backlog } = another.capabilities
    await another.close()
    const served = () => many.filter(({ received }) => received > 0).length
    const refused = () => many.filter(({ closed }) => closed).length
    if (backlog) await until(() => served() > 0, 'some to be served')
    else await until(() => served() + refused() === flood, 'every one to be served or refused')
    assert.ok(served() > 0 && served() < flood, `${served()} were served`)
    for (const client of living) await client.echoes(' meanwhile')

    for (const client of many) client.socket.destroy()
    await until(
      () => app.connections.filter(({ closed }) => !closed).length === living.length,
      'the flood to be gone',
    )
    await until(() => child.ended() >= served(), 'its sessions to end')
    for (const client of living) await client.echoes(' after')
    const next = Array.from({ length: 20 }, dial)
    for (const client of next) await client.echoes('and new')
    if (!backlog) assert.ok(child.reasons.includes('descriptors_exhausted'))
  })
})

async function openChild(t: TestContext, plane: DataPlaneUnderTest, app: App) {
  const script = fileURLToPath(new URL('../support/descriptor-child.ts', import.meta.url))
  const limit = `--nofile=${descriptors}:${descriptors}`
  const child = spawn('prlimit', [limit, process.execPath, script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  t.after(() => {
    child.kill('SIGKILL')
    return exited
  })
  const reasons: string[] = []
  let address: Extract<FromChild, { type: 'listening' }>['address'] | undefined
  child.on('message', (message: FromChild) => {
    if (message.type === 'listening') address = message.address
    else reasons.push(...message.reasons)
  })
  const order: ToChild = {
    plane: plane.name,
    target: app.address,
    chainPem: mesh.db.chainPem,
    keyPem: mesh.db.keyPem,
    rootsPem: mesh.root.certPem,
  }
  child.send(order)
  return { address: await until(() => address, 'the child to listen'), reasons, ended: () => reasons.length }
}
