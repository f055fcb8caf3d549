// Ways to the agent beside plain HTTP: a unix socket, IPv6, and what is asked for with every question.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { freePort } from '../support/free-ports.ts'
import { startMeshPair, startMeshSidecar } from '../support/mesh.ts'
import { eventually, Folder } from '../support/running-sidecar.ts'

async function sidecarService() {
  const SidecarService = { Port: (await freePort()).port, Checks: [] }
  return { ID: 'web1', Name: 'web', Port: 1, Connect: { SidecarService } }
}

test('an agent is reached by its unix socket, and found again there', async t => {
  const folder = await Folder.make(t)
  const socket = folder.file('agent.sock')
  const agent = await startConsul(t, { config: { addresses: { http: `127.0.0.1 unix://${socket}` } } })
  const service = await sidecarService()
  await agent.register(service)
  const sidecar = await startMeshSidecar(t, { address: `unix://${socket}` }, ['--sidecar-for', 'web1'])
  await sidecar.ready()
  assert.match(await sidecar.command.line('registration found'), new RegExp(` agent=${socket}$`))
  await agent.kill()
  await sidecar.command.line('the agent does not answer')
  await agent.startAgain()
  await agent.register(service)
  await sidecar.command.line('the agent answers again')
})

test('an agent is reached by its IPv6 address, in brackets', async t => {
  const agent = await startConsul(t, { config: { addresses: { http: '127.0.0.1 ::1' } } })
  await agent.register(await sidecarService())
  const sidecar = await startMeshSidecar(t, { address: `[::1]:${agent.httpPort}` }, ['--sidecar-for', 'web1'])
  await sidecar.ready()
})

test('--stale and --datacenter go with every question, and a mesh works by the answers', async t => {
  const agent = await startConsul(t)
  const args = ['-stale', '-datacenter=dc1']
  const pair = await startMeshPair(t, agent, { webArgs: args, dbArgs: args })
  await pair.connect().echoes('hello')
  // What has been answered turns up in the agent's log a moment later.
  const asked = await eventually(async () => {
    const questions = agent.answered().filter(request => request.includes('dc=dc1'))
    return questions.some(request => request.includes('/v1/health/connect/')) && questions
  }, 'the questions')
  for (const request of asked)
    assert.ok(request.startsWith('GET ') === /[?&]stale=?(&|$)/.test(request), request)
  const own = agent.answered().filter(request => /^GET .*(leaf|match|agent\/service\/)/.test(request))
  assert.deepEqual(
    own.filter(request => !request.includes('dc=dc1')),
    [],
  )
})
