// An agent that comes back as another cluster: its identity is taken up whole, and nothing of the former is trusted any more.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { setCa } from '../support/consul-ca.ts'
import { startMeshPair } from '../support/mesh.ts'
import { issueLeaf, spiffeId } from '../support/pki.ts'
import { eventually } from '../support/running-sidecar.ts'
import { tlsConnect } from '../support/tls-peers.ts'

interface State {
  readonly upstreams: readonly { readonly endpoints: readonly object[] }[]
  readonly identity: { readonly id: string; readonly roots: readonly { readonly subject: string }[] }
}

test('a new cluster takes the place of the former: its peers are refused, live sessions stay', async t => {
  const agent = await startConsul(t)
  const { root, trustDomain } = await setCa(agent)
  const certificate = await issueLeaf('web', root, { uris: [spiffeId('web', trustDomain)] })
  const pair = await startMeshPair(t, agent)
  const dial = async () => {
    // Whoever answers is trusted: the question is whom they trust.
    const { Roots } = await agent.call<{ Roots: { RootCert: string }[] }>('GET', '/v1/connect/ca/roots')
    const certPem = Roots.map(({ RootCert }) => RootCert).join('\n')
    return tlsConnect(t, pair.dbPublic, { certificate, root: { ...root, certPem } })
  }
  await (await dial()).echoes('one of us')
  const live = pair.connect()
  await live.echoes('before')

  await agent.kill()
  await pair.db.command.line('the agent does not answer')
  await agent.startAgain()
  await agent.register(pair.webService())
  await agent.register(pair.dbService())
  await eventually(
    async () => !(await pair.db.state<State>()).identity.id.includes(trustDomain),
    "db's certificate of the new cluster",
  )
  // The new cluster knew of no db at first.
  await eventually(async () => {
    const { identity, upstreams } = await pair.web.state<State>()
    return !identity.id.includes(trustDomain) && upstreams[0]?.endpoints.length === 1
  }, 'db of the new cluster')

  const { identity } = await pair.db.state<State>()
  assert.equal(identity.roots.length, 1)
  const sessions = pair.db.command.linesWith('session ended').length
  const seen = pair.app.connections.length
  const former = await dial()
  former.send('hello')
  await former.isOver()
  assert.equal(former.received, 0)
  assert.match(await pair.db.command.line('session ended', sessions + 1), /reason=peer_certificate_refused/)
  assert.equal(pair.app.connections.length, seen)
  await live.echoes(' and after')
  await pair.connect().echoes('new')
})
