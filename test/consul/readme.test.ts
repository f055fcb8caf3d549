// The README's walk-through of a mesh, as it stands there, with ports of the test's own.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { type Command, packageRoot, run } from '../support/command.ts'
import { startConsul } from '../support/consul-agent.ts'
import { consulBinary } from '../support/consul-binary.ts'
import { connect } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { eventually, Folder } from '../support/running-sidecar.ts'

const execute = promisify(execFile)
const readme = readFileSync(join(packageRoot, 'README.md'), 'utf8')

test("the README's five commands make a mesh in which web reaches api, and a denying intention ends that", async t => {
  const services = /```hcl\n([\s\S]*?)```/.exec(readme)?.[1] ?? ''
  const commands = (/```sh\n(consul agent -dev[\s\S]*?)```/.exec(readme)?.[1] ?? '').trim().split('\n')
  assert.equal(commands.length, 5)
  const agent = await startConsul(t)
  const upstream = await freePort()
  const ours = (text: string) =>
    text.replaceAll('8500', `${agent.httpPort}`).replaceAll('9191', `${upstream.port}`)
  const folder = await Folder.make(t)
  await folder.write('services.hcl', ours(services))
  const env = { ...process.env, CONSUL_HTTP_ADDR: agent.address }
  const consul = (...args: string[]) => execute(consulBinary, args, { cwd: folder.path, env })
  const register = words(commands[1])
  assert.deepEqual(register.slice(0, 3), ['consul', 'services', 'register'])
  await consul(...register.slice(1))
  const sidecars: Command[] = commands.slice(2, 4).map(line => {
    const [program, ...args] = words(line.replace(/ > .*/, ''))
    assert.equal(program, 'sidesplice')
    return run(t, args, { env })
  })
  for (const sidecar of sidecars) await sidecar.line(' ready ')
  const url = ours(words(commands[4]).at(-1) ?? '')
  const answer = await eventually(async () => (await fetch(url)).text(), 'an answer through both sidecars')
  assert.match(answer, /^"127\.0\.0\.1:\d+"\s*$/)
  const deny = /`consul (intention create -deny web api)`/.exec(readme)?.[1] ?? ''
  await consul(...words(deny))
  await eventually(
    () =>
      fetch(url).then(
        () => false,
        () => true,
      ),
    'a refusal',
  )
  const refused = connect(t, upstream)
  refused.send('GET /v1/status/leader HTTP/1.0\r\n\r\n')
  await refused.fails()
  assert.equal(refused.received, 0)
})

function words(line: string | undefined): string[] {
  return (line ?? '').split(' ').filter(word => word !== '')
}
