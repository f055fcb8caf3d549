// Many proxies under `manage` on Consul 1.8.7 itself, with its default limits and ACLs that deny: they crash at random, and so does who
// minds them; in the end none is left behind, no registration, no port and no token.
import assert from 'node:assert/strict'
import test from 'node:test'
import { findProcesses } from '../../src/managed/processes.ts'
import { patienceMs } from '../support/command.ts'
import { startConsulWithAcls } from '../support/consul-acls.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { connectionsTo, listeningPorts } from '../support/listening-ports.ts'
import { Manager, madeTokens } from '../support/manager.ts'
import { eventually } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'

const proxies = Number(process.env.SIDESPLICE_MANY_MANAGED ?? 6)
const crashingMs = Number(process.env.SIDESPLICE_MANY_MANAGED_MS ?? 8_000)
// Consul's default of limits.http_max_conns_per_client.
const mostConnections = 200
// Each start is a Node of its own, the machine may have two cores, and a token that was just made is young for half a minute.
const settleMs = patienceMs + 40_000 + proxies * 4_000

test(`${proxies} proxies beside Consul that crash at random leave no orphan, no registration, no port and no token`, async t => {
  const agent = await startConsulWithAcls(t, { real: true })
  const app = await openApp(t, { serve: echo })
  const upstream = await freePort()
  const names = Array.from({ length: proxies }, (_, at) => `s${at}`)
  for (const Name of names) await agent.register({ Name, Port: app.address.port })
  await agent.intention('s0', 's1', 'allow')
  // The first reaches the second; which of them crash is chance.
  const definitions = names.map((name, at) => ({
    ...{ name, port: app.address.port },
    connect: {
      proxy: {
        config: { drain: 0 },
        ...(at === 0 && { upstreams: [{ destination_name: 's1', local_bind_port: upstream.port }] }),
      },
    },
  }))
  const manager = new Manager(
    t,
    { agent, token: agent.master, args: ['--make-tokens'] },
    { services: definitions },
  )
  const sidecars = async () =>
    Object.values(
      await agent.call<Record<string, { ID: string; Kind?: string; Port: number }>>(
        'GET',
        '/v1/agent/services',
      ),
    ).filter(({ Kind }) => Kind === 'connect-proxy')
  const ports = new Set<number>()
  const allRun = () =>
    eventually(
      async () => {
        for (const { Port } of await sidecars()) ports.add(Port)
        const open = new Set(listeningPorts())
        const there = (await sidecars()).filter(({ Port }) => open.has(Port))
        return manager.pids().size === proxies && there.length === proxies && true
      },
      'every proxy to listen',
      settleMs,
    )
  await allRun()
  let crashed = 0
  let killed = 0
  for (const endAt = performance.now() + crashingMs; performance.now() < endAt; ) {
    // Half of them at the least: who only ever meets those that have just begun learns little.
    await until(() => manager.pids().size >= proxies / 2, 'half of the proxies to run', settleMs)
    const pids = [...manager.pids().values()]
    const victim = pids[Math.floor(Math.random() * pids.length)]
    if (victim !== undefined) process.kill(victim, 'SIGKILL')
    crashed++
    await until(() => ![...manager.pids().values()].includes(victim ?? 0), 'its end')
    // Now and then the supervisor itself.
    if (crashed % 10 === 0) {
      await manager.kill()
      manager.startAgain()
      await manager.command.line('managing')
      killed++
    }
  }
  await allRun()
  const connections = connectionsTo(agent.httpPort)
  assert.ok(connections > proxies && connections < mostConnections, `${connections} connections to Consul`)
  t.diagnostic(`${connections} connections of ${mostConnections} to Consul`)
  t.diagnostic(`${crashed} crashes of proxies, ${killed} of the supervisor`)
  await eventually(
    async () =>
      connect(t, upstream)
        .echoes('after all')
        .then(
          () => true as const,
          () => undefined,
        ),
    'traffic',
    settleMs,
  )
  const ids = [...manager.pids().keys()]
  assert.deepEqual(
    ids.toSorted(),
    names.map(name => `${name}-sidecar-proxy`).toSorted(),
    'one process for each',
  )
  assert.equal(findProcesses(manager.owner).filter(({ leads }) => leads).length, proxies)
  // Those of proxies that crashed have gone.
  await eventually(async () => (await madeTokens(agent)) === proxies && true, 'one token for each', settleMs)
  manager.write({ services: [] })
  manager.command.signal('SIGHUP')
  await until(() => findProcesses(manager.owner).length === 0, 'no process', settleMs)
  await eventually(async () => (await madeTokens(agent)) === 0 && true, 'no token', settleMs)
  assert.deepEqual(await sidecars(), [], 'no registration')
  const left = listeningPorts().filter(port => ports.has(port))
  assert.deepEqual(left, [], 'no port')
})
