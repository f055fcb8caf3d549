// Many managed proxies at once, crashing at random: in the end none is left behind, no port and no token.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test from 'node:test'
import { findProcesses } from '../../src/managed/processes.ts'
import { durable, startAgent } from '../support/agent-command.ts'
import { patienceMs } from '../support/command.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { freePort, freePortRange } from '../support/free-ports.ts'
import { listeningPorts } from '../support/listening-ports.ts'
import { eventually } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'

const proxies = Number(process.env.SIDESPLICE_MANY_PROXIES ?? 12)
const crashingMs = Number(process.env.SIDESPLICE_MANY_PROXIES_MS ?? 10_000)
// Each start is a Node of its own, and the machine may have two cores.
const settleMs = patienceMs + proxies * 4_000

test(`${proxies} managed proxies that crash at random leave no orphan, no port and no token`, async t => {
  const root = 'the root token of this test'
  const app = await openApp(t, { serve: echo })
  const upstream = await freePort()
  const names = Array.from({ length: proxies }, (_, at) => `s${at}`)
  const { first, last } = await freePortRange(3 * proxies)
  const range = { proxy_min_port: first, proxy_max_port: last }
  const settings = {
    ports: range,
    acl: { enabled: true, default_policy: 'allow', tokens: { initial_management: root } },
    connect: { proxy: { allow_managed_root: true } },
  }
  // The first reaches the second; which of them crash is chance.
  const services = names.map((name, at) => ({
    ...{ name, port: app.address.port },
    connect: {
      proxy: {
        config: { drain: 0 },
        ...(at === 0 && { upstreams: [{ destination_name: 's1', local_bind_port: upstream.port }] }),
      },
    },
  }))
  const agent = await startAgent(t, {
    files: { 'agent.json': { ...settings, services } },
    args: folder => [...durable(folder), '--config', join(folder, 'agent.json')],
  })
  const { Config } = await agent.call<{ Config: { NodeID: string } }>(
    'GET',
    '/v1/agent/self',
    undefined,
    root,
  )
  const owner = Config.NodeID
  t.after(() => {
    for (const { pid } of findProcesses(owner)) process.kill(pid, 'SIGKILL')
  })
  const leaders = () => findProcesses(owner).filter(({ leads }) => leads)
  const allPass = () =>
    eventually(
      async () => {
        const checks = Object.values(
          await agent.call<Record<string, { Status: string }>>('GET', '/v1/agent/checks', undefined, root),
        )
        return checks.length === proxies && checks.every(({ Status }) => Status === 'passing') && true
      },
      'every proxy to pass',
      settleMs,
    )
  await allPass()
  let crashed = 0
  let killed = 0
  for (const endAt = performance.now() + crashingMs; performance.now() < endAt; ) {
    const found = leaders()
    const victim = found[Math.floor(Math.random() * found.length)]
    if (victim !== undefined) process.kill(victim.pid, 'SIGKILL')
    crashed++
    await until(() => victim === undefined || !leaders().some(({ pid }) => pid === victim.pid), 'its end')
    // Now and then the agent itself.
    if (crashed % 10 === 0) {
      await agent.kill()
      await agent.startAgain()
      killed++
    }
  }
  t.diagnostic(`${crashed} crashes of proxies, ${killed} of the agent`)
  await allPass()
  await eventually(
    async () =>
      connect(t, upstream)
        .echoes('after all')
        .then(
          () => true as const,
          () => undefined,
        ),
    'traffic',
  )
  const ids = leaders().map(({ mark }) => mark.proxy)
  assert.deepEqual(ids.toSorted(), names.map(name => `${name}-proxy`).toSorted(), 'one process for each')
  const tokens = () => agent.call<{ Description: string }[]>('GET', '/v1/acl/tokens', undefined, root)
  assert.equal((await tokens()).length, proxies)
  agent.write('agent.json', settings)
  agent.command.signal('SIGHUP')
  await until(() => findProcesses(owner).length === 0, 'no process', settleMs)
  await eventually(async () => (await tokens()).length === 0 && true, 'no token')
  const left = listeningPorts().filter(port => port >= range.proxy_min_port && port <= range.proxy_max_port)
  assert.deepEqual(left, [], 'no port')
})
