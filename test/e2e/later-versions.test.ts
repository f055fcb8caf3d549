// The command itself in a mesh of a later Consul, told from written answers: it finds its registration, carries traffic, and obeys.
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { Era, type Member } from '../support/consul-eras.ts'
import { connect, echo, openApp } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { startMeshSidecar } from '../support/mesh.ts'
import { eventually } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'
import { paths, tellIntentions, tellServices } from '../support/written-services.ts'

interface Shown {
  readonly upstreams: readonly { readonly endpoints: readonly object[] }[]
  readonly inbound: { readonly intentions: readonly string[]; readonly default_intention: string }
}

/** `web` reaches `db`, an app that echoes, through two sidecars that one written agent serves. */
async function startPair(t: TestContext, era: Era, rules: readonly object[]) {
  const agent = await startWrittenMesh(t, era.options)
  const app = await openApp(t, { serve: echo })
  const [webPublic, dbPublic, upstream] = [await freePort(), await freePort(), await freePort()]
  const web: Member = {
    id: 'web1',
    name: 'web',
    publicPort: webPublic.port,
    appPort: app.address.port,
    upstreams: [era.upstream('db', upstream.port)],
  }
  const db: Member = { id: 'db1', name: 'db', publicPort: dbPublic.port, appPort: app.address.port }
  await tellServices(agent, era, [web, db])
  tellIntentions(agent, 'db', rules)
  const sidecars = {
    web: await startMeshSidecar(t, agent, ['--sidecar-for', 'web1']),
    db: await startMeshSidecar(t, agent, ['--sidecar-for', 'db1']),
  }
  await Promise.all([sidecars.web.ready(), sidecars.db.ready()])
  await eventually(
    async () => (await sidecars.web.state<Shown>()).upstreams[0]?.endpoints.length === 1 && true,
    'db to be found',
  )
  return { agent, app, db, upstream, sidecars, connect: () => connect(t, upstream) }
}

for (const minor of [9, 13, 20]) {
  const era = new Era(minor)
  test(`in a mesh of Consul ${era.name} traffic is carried, and what permissions of layer 7 say ends it`, async t => {
    const allow = era.intention('web', 'db', { Action: 'allow' })
    const { agent, app, sidecars, connect } = await startPair(t, era, [allow])
    const live = connect()
    await live.echoes('hello')
    await until(() => agent.waiting(paths.match('db')) === 1, 'the watch')
    const permissions = [{ Action: 'allow', HTTP: { PathPrefix: '/' } }]
    tellIntentions(agent, 'db', [era.intention('web', 'db', { Permissions: permissions })])
    await live.isOver()
    assert.match(await sidecars.db.command.line('session ended'), /reason=no_longer_allowed/)
    const seen = app.connections.length
    const refused = connect()
    refused.send('hello')
    await refused.isOver()
    assert.deepEqual([refused.received, app.connections.length], [0, seen])
    tellIntentions(agent, 'db', [allow])
    await eventually(
      async () =>
        (await sidecars.db.state<Shown>()).inbound.intentions.includes('allow default/web => default/db') &&
        true,
      'the permission',
    )
    await connect().echoes('again')
    // That permissions deny is said, and nothing else of what the agent tells is a reason for a warning.
    const own = / WARN {2}(session ended|not ready)/
    const warnings = Object.values(sidecars).flatMap(({ command }) =>
      command.linesWith(' WARN ').filter(line => !own.test(line)),
    )
    assert.equal(warnings.length, 1, warnings.join('\n'))
    assert.match(warnings[0] ?? '', /layer 7/)
  })
}

test('in a mesh of Consul 1.18 whose two defaults differ nobody is admitted, and a line says which setting it may be', async t => {
  const era = new Era(18, 'deny')
  const { agent, app, sidecars, connect } = await startPair(t, era, [])
  agent.say(paths.authorize, { body: era.byDefault('allow', true) })
  // The default is asked for again where a rule has gone.
  tellIntentions(agent, 'db', [era.intention('api', 'db', { Action: 'allow' })])
  await eventually(
    async () => (await sidecars.db.state<Shown>()).inbound.intentions.length === 1 && true,
    'the rule',
  )
  tellIntentions(agent, 'db', [])
  assert.match(await sidecars.db.command.line('default_intention_policy'), /allow.*deny/)
  const refused = connect()
  refused.send('hello')
  await refused.isOver()
  assert.deepEqual([refused.received, app.connections.length], [0, 0])
})
