// `npm start`: what a newcomer sees first.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { type TestContext, test } from 'node:test'
import { type Command, run } from '../support/command.ts'
import { until } from '../support/until.ts'

const urlIn = (text: string) => /curl (http:\S+)/.exec(text)?.[1]
const demoFolders = () => readdirSync(tmpdir()).filter(name => name.startsWith('sidesplice-demo-'))

async function startDemo(t: TestContext): Promise<{ readonly demo: Command; readonly url: string }> {
  const demo = run(t, ['demo'])
  const url = await until(() => urlIn(demo.stdout), 'the curl line')
  return { demo, url }
}

function childrenOf(pid: number): readonly number[] {
  return execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' })
    .trim()
    .split(/\s+/)
    .map(Number)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`the printed curl line goes through both sidecars, and ${signal} leaves nothing behind`, async t => {
    const before = demoFolders()
    const { demo, url } = await startDemo(t)
    const answer = await fetch(url)
    assert.match(await answer.text(), /over mutual TLS, and got: hello from api/)
    await demo.line('| ', 1)
    const access = await until(() => {
      const lines = demo.linesWith('session ended')
      return lines.length === 2 && lines
    }, 'an access line of each sidecar')
    assert.match(
      access.join('\n'),
      /web-proxy \| .*direction=outbound.*peer=spiffe:\/\/[0-9a-f-]+\.consul\/ns\/default\/dc\/dc1\/svc\/api/,
    )
    assert.match(
      access.join('\n'),
      /api-proxy \| .*direction=inbound.*peer=spiffe:\/\/[0-9a-f-]+\.consul\/ns\/default\/dc\/dc1\/svc\/web/,
    )
    const sidecars = childrenOf(demo.pid)
    assert.equal(sidecars.length, 2)
    assert.equal((await demo.stop(signal)).code, 0)
    assert.deepEqual(sidecars.filter(isAlive), [])
    assert.deepEqual(demoFolders(), before)
    await assert.rejects(fetch(url))
  })
}

test('a reader of its output that goes leaves nothing behind', async t => {
  const before = demoFolders()
  const { demo } = await startDemo(t)
  const sidecars = childrenOf(demo.pid)
  assert.equal(sidecars.length, 2)
  demo.child.stdout?.destroy()
  // The access lines find no reader.
  await fetch(urlIn(demo.stdout) ?? '')
  assert.equal((await demo.end()).code, 0)
  assert.deepEqual(sidecars.filter(isAlive), [])
  assert.deepEqual(demoFolders(), before)
})

test('ports that are taken are got round', async t => {
  const taken: net.Server[] = []
  for (const port of [8080, 8081, 9191, 8500]) {
    const server = net.createServer()
    // Where another test's demonstration has it already, it is taken as well.
    await new Promise<void>(resolve =>
      server.once('error', () => resolve()).listen(port, '127.0.0.1', resolve),
    )
    taken.push(server)
  }
  t.after(() => {
    for (const server of taken) server.close()
  })
  const { demo, url } = await startDemo(t)
  assert.notEqual(new URL(url).port, '8080')
  assert.match(await (await fetch(url)).text(), /hello from api/)
  await demo.stop('SIGINT')
})
