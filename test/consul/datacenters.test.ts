// A mesh of two federated datacenters: identities of both, one trust domain, intentions that hold in both.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import tls from 'node:tls'
import type { ConsulAgent } from '../support/consul-agent.ts'
import { type MeshService, startDatacenters, startService } from '../support/datacenters.ts'
import { connect, End } from '../support/ends.ts'
import { freePort } from '../support/free-ports.ts'
import { eventually } from '../support/running-sidecar.ts'

async function trustDomain(agent: ConsulAgent): Promise<string> {
  return (await agent.call<{ TrustDomain: string }>('GET', '/v1/agent/connect/ca/roots')).TrustDomain
}

/** Waits until the endpoints of the first upstream are just those of one datacenter. */
function endpointsIn(web: MeshService, datacenter: string): Promise<true> {
  return eventually(async () => {
    const endpoints = await web.endpoints()
    return endpoints.length === 1 && endpoints[0]?.expect[0]?.includes(`/dc/${datacenter}/svc/`) === true
  }, `endpoints in ${datacenter}`)
}

test("an upstream of another datacenter is reached, as that datacenter's service", async t => {
  const { dc1, dc2 } = await startDatacenters(t)
  const [east, west] = [await freePort(), await freePort()]
  const db = await startService(t, dc2, {
    name: 'db',
    greeting: 'dc2 ',
    upstreams: [{ DestinationName: 'web', Datacenter: 'dc1', LocalBindPort: west.port }],
  })
  // A service of the same name nearby, which is not meant.
  await startService(t, dc1, { name: 'db', greeting: 'dc1 ' })
  const web = await startService(t, dc1, {
    name: 'web',
    upstreams: [{ DestinationName: 'db', Datacenter: 'dc2', LocalBindPort: east.port }],
  })
  const id = `spiffe://${await trustDomain(dc1)}/ns/default/dc`
  await endpointsIn(web, 'dc2')
  assert.deepEqual(
    (await web.endpoints()).map(({ expect }) => expect),
    [[`${id}/dc2/svc/db`]],
  )
  const there = connect(t, east)
  await there.gets('dc2 ')
  await there.echoes('hello')
  there.socket.end()
  await there.ends()
  assert.match(await db.sidecar.command.line('session ended'), new RegExp(` peer=${id}/dc1/svc/web `))
  // And back: web's sidecar verifies a caller whose leaf is signed by an intermediate.
  await endpointsIn(db, 'dc1')
  await connect(t, west).echoes('hello back')
})

test('a leaf of the second datacenter is presented with its intermediate, and verifies by the root alone', async t => {
  const { dc1, dc2 } = await startDatacenters(t)
  const db = await startService(t, dc2, { name: 'db' })
  const roots = await dc1.call<{ Roots: { RootCert: string }[] }>('GET', '/v1/agent/connect/ca/roots')
  const leaf = await dc1.call<{ CertPEM: string; PrivateKeyPEM: string }>(
    'GET',
    '/v1/agent/connect/ca/leaf/web',
  )
  assert.equal(roots.Roots.length, 1)
  const socket = tls.connect({
    ...db.publicListener,
    ca: roots.Roots.map(({ RootCert }) => RootCert),
    cert: leaf.CertPEM,
    key: leaf.PrivateKeyPEM,
    checkServerIdentity: () => undefined,
  })
  t.after(() => socket.destroy())
  await new End(socket).echoes('hello')
  assert.equal(socket.authorized, true)
  const certificate = socket.getPeerCertificate(true)
  assert.match(certificate.subjectaltname ?? '', /\/dc\/dc2\/svc\/db$/)
  const signer = certificate.issuerCertificate
  assert.notEqual(signer.fingerprint256, signer.issuerCertificate.fingerprint256, 'there is no intermediate')
})

test('an instance of the first datacenter that is registered in the second is refused', async t => {
  const { dc1, dc2 } = await startDatacenters(t)
  const upstream = await freePort()
  const impostor = await startService(t, dc1, { name: 'db' })
  await dc2.register({
    ID: 'db-proxy',
    Name: 'db-proxy',
    Kind: 'connect-proxy',
    Port: impostor.publicListener.port,
    Proxy: { DestinationServiceName: 'db' },
  })
  const web = await startService(t, dc1, {
    name: 'web',
    upstreams: [{ DestinationName: 'db', Datacenter: 'dc2', LocalBindPort: upstream.port }],
  })
  await endpointsIn(web, 'dc2')
  const refused = connect(t, upstream)
  refused.send('hello')
  await refused.fails()
  assert.equal(refused.received, 0)
  const line = await web.sidecar.command.line('session ended')
  assert.match(line, /identity_mismatch/)
  assert.match(line, /\/dc\/dc1\/svc\/db/)
  assert.equal(impostor.app.connections.length, 0)
})

test('a prepared query fails over to another datacenter, and comes back', async t => {
  const { dc1, dc2 } = await startDatacenters(t)
  const upstream = await freePort()
  await startService(t, dc2, { name: 'db', greeting: 'dc2' })
  const near = await startService(t, dc1, { name: 'db', greeting: 'dc1' })
  const Service = { Service: 'db', Connect: true, Failover: { Datacenters: ['dc2'] } }
  await dc1.call('POST', '/v1/query', { Name: 'any-db', Service })
  const web = await startService(t, dc1, {
    name: 'web',
    upstreams: [
      { DestinationType: 'prepared_query', DestinationName: 'any-db', LocalBindPort: upstream.port },
    ],
  })
  const answersFrom = async (datacenter: string) => {
    await endpointsIn(web, datacenter)
    const client = connect(t, upstream)
    await client.gets(datacenter)
    return client
  }
  const live = await answersFrom('dc1')
  await near.setHealth('fail')
  await answersFrom('dc2')
  await live.echoes(' and still there')
  await near.setHealth('pass')
  await answersFrom('dc1')
  await dc1.call('PUT', '/v1/agent/service/deregister/db')
  await near.sidecar.command.stop('SIGKILL')
  await connect(t, upstream).fails()
  await answersFrom('dc2')
})

test('an intention of the first datacenter denies in the second: live sessions end, new ones are refused', async t => {
  const { dc1, dc2 } = await startDatacenters(t)
  const upstream = await freePort()
  const db = await startService(t, dc2, { name: 'db' })
  const web = await startService(t, dc1, {
    name: 'web',
    upstreams: [{ DestinationName: 'db', Datacenter: 'dc2', LocalBindPort: upstream.port }],
  })
  await endpointsIn(web, 'dc2')
  const live = connect(t, upstream)
  await live.echoes('hello')
  const intention = await dc1.intention('web', 'db', 'deny')
  await live.isOver()
  assert.match(await db.sidecar.command.line('session ended'), /reason=no_longer_allowed/)
  const refused = connect(t, upstream)
  refused.send('hello')
  await refused.fails()
  assert.equal(refused.received, 0)
  assert.match(await db.sidecar.command.line('session ended', 2), /reason=denied\b/)
  assert.equal(db.app.connections.length, 1)
  await dc1.call('DELETE', `/v1/connect/intentions/${intention}`)
  await eventually(async () => {
    const { inbound } = await db.sidecar.state<{ inbound: { intentions: object[] } }>()
    return inbound.intentions.length === 0
  }, 'the denial to be gone')
  await connect(t, upstream).echoes('hello again')
})

test('with the other datacenter gone its known instances are still reached', async t => {
  const { dc1, dc2 } = await startDatacenters(t)
  const upstream = await freePort()
  await startService(t, dc2, { name: 'db' })
  const web = await startService(t, dc1, {
    name: 'web',
    upstreams: [{ DestinationName: 'db', Datacenter: 'dc2', LocalBindPort: upstream.port }],
  })
  await endpointsIn(web, 'dc2')
  await dc2.kill()
  await web.sidecar.command.line('the agent refused')
  await connect(t, upstream).echoes('hello')
})
