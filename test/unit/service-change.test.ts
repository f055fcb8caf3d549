// A proxy that comes to stand for another service.
import assert from 'node:assert/strict'
import test from 'node:test'
import { Era } from '../support/consul-eras.ts'
import { issueLeaf, mesh, spiffeId } from '../support/pki.ts'
import { RunningMesh } from '../support/running-mesh.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'
import { paths, tellIntentions, tellServices } from '../support/written-services.ts'

test('a proxy of another service now keeps its whole former state until the new certificate is there', async t => {
  const era = new Era(20)
  const agent = await startWrittenMesh(t, era.options)
  const web = { id: 'web1', name: 'web', publicPort: 21_000, appPort: 8_080 }
  await tellServices(agent, era, [web])
  const running = new RunningMesh(t, agent, 'web1-sidecar-proxy')
  await running.whole()
  const states = running.states.length

  agent.say(paths.leaf('shop'), { status: 403, body: 'Permission denied' })
  tellIntentions(agent, 'shop', [])
  agent.say(paths.proxy('web1'), { by: 'hash', body: era.registration({ ...web, name: 'shop' }) })
  await until(() => running.mesh.missing().includes('certificates'), 'the certificate to be missing')
  await until(() => agent.askedFor(paths.match('shop')).length > 1, 'the new intentions to be known')
  assert.equal(running.states.length, states, 'nothing of the new service is mixed with the old certificate')

  const leaf = await issueLeaf('shop', mesh.root)
  agent.say(paths.leaf('shop'), { by: 'index', body: era.leaf('shop', leaf) })
  await until(() => running.last?.service === 'shop', 'the new service')
  assert.equal(running.last?.identity.leaf.id.uri, spiffeId('shop'))
})
