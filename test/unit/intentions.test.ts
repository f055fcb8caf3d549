import assert from 'node:assert/strict'
import test from 'node:test'
import { authorize } from '../../src/authorization/authorization.ts'
import { type Action, decide, type Intention, precedence } from '../../src/authorization/intentions.ts'
import { parseIntentions } from '../../src/consul/wire.ts'
import { consulServiceOf, spiffeIdOf } from '../../src/identity/consul-service.ts'
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts'
import { answerOf } from '../support/written-agent.ts'

const web = { partition: 'default', namespace: 'default', datacenter: 'dc1', service: 'web' }
const rule = (source: string, destination: string, action: Action): Intention => {
  const [sourceNamespace = '', sourceName = ''] = source.split('/')
  const [destinationNamespace = '', destinationName = ''] = destination.split('/')
  return {
    sourceNamespace,
    sourceName,
    sourcePartition: 'default',
    destinationNamespace,
    destinationName,
    action,
  }
}

// Consul's table of precedence (internals/security, intentions).
for (const [source, destination, number] of [
  ['a/x', 'b/y', 9],
  ['a/*', 'b/y', 8],
  ['*/*', 'b/y', 7],
  ['a/x', 'b/*', 6],
  ['a/*', 'b/*', 5],
  ['*/*', 'b/*', 4],
  ['a/x', '*/*', 3],
  ['a/*', '*/*', 2],
  ['*/*', '*/*', 1],
] as const) {
  test(`${source} => ${destination} has precedence ${number}`, () => {
    assert.equal(precedence(rule(source, destination, 'deny')), number)
  })
}

test('a rule for our service goes before a wildcard one, whichever is exact about the source', () => {
  const rules = [rule('default/web', 'default/*', 'deny'), rule('default/*', 'default/db', 'allow')]
  assert.equal(decide({ rules, defaultAction: 'deny' }, web).action, 'allow')
  assert.equal(decide({ rules: rules.toReversed(), defaultAction: 'deny' }, web).action, 'allow')
})

test('a rule for another source, namespace or partition does not match', () => {
  for (const other of [{ service: 'api' }, { namespace: 'team' }, { partition: 'edge' }]) {
    const rules = [rule('default/web', 'default/db', 'allow')]
    assert.equal(decide({ rules, defaultAction: 'deny' }, { ...web, ...other }).action, 'deny')
  }
})

test('sources of every datacenter match', () => {
  const rules = [rule('default/web', 'default/db', 'allow')]
  assert.equal(decide({ rules, defaultAction: 'deny' }, { ...web, datacenter: 'dc9' }).action, 'allow')
})

test('where no rule matches the default holds', () => {
  assert.equal(decide({ rules: [], defaultAction: 'allow' }, web).action, 'allow')
  assert.equal(decide({ rules: [], defaultAction: 'deny' }, web).action, 'deny')
})

test('a peer whose ID is not of a Consul service is denied, whatever the default', () => {
  const intentions = { rules: [], defaultAction: 'allow' } as const
  for (const uri of [
    'spiffe://td/workload/web',
    'spiffe://td/agent/client/dc/dc1/id/n1',
    'spiffe://td/ns/a/dc/b/svc/%ff',
  ]) {
    assert.equal(authorize({ by: 'intentions', intentions }, parseSpiffeId(uri)).allowed, false, uri)
  }
  assert.ok(authorize({ by: 'intentions', intentions }, parseSpiffeId('spiffe://td/ns/a/dc/b/svc/c')).allowed)
})

test("a service's ID is read and written, with its partition and escapes", () => {
  for (const service of [web, { ...web, partition: 'edge' }, { ...web, service: 'we b' }]) {
    assert.deepEqual(consulServiceOf(spiffeIdOf('td.consul', service)), service)
  }
  assert.equal(spiffeIdOf('td.consul', web).uri, 'spiffe://td.consul/ns/default/dc/dc1/svc/web')
})

const row = {
  SourceNS: 'default',
  SourceName: 'web',
  DestinationNS: 'default',
  DestinationName: 'db',
  SourceType: 'consul',
  Action: 'allow',
}

test('rows are read as 1.8 and later versions send them', () => {
  const old = { ID: 'x', ...row, Precedence: 9 }
  // From 1.9 on: no ID where a config entry made it (Consul, agent/structs/intention.go).
  const entry = { SourceName: 'web', DestinationName: 'db', Action: 'allow', Precedence: 9 }
  const expected = rule('default/web', 'default/db', 'allow')
  assert.deepEqual(parseIntentions(answerOf({ db: [old, entry] }), 'db'), [expected, expected])
  assert.deepEqual(parseIntentions(answerOf({ db: null }), 'db'), [])
})

test('permissions of layer 7 deny, and so does an action that is not known', () => {
  const permissions = { ...row, Action: '', Permissions: [{ Action: 'allow', HTTP: { PathPrefix: '/' } }] }
  for (const one of [
    permissions,
    { ...row, Permissions: [{}] },
    { ...row, Action: 'log' },
    { ...row, Action: undefined },
  ]) {
    assert.equal(parseIntentions(answerOf({ db: [one] }), 'db')[0]?.action, 'deny')
  }
})

test('rows of other meshes are left out', () => {
  assert.deepEqual(parseIntentions(answerOf({ db: [{ ...row, SourcePeer: 'other' }] }), 'db'), [])
  assert.deepEqual(parseIntentions(answerOf({ db: [{ ...row, SourceType: 'external-uri' }] }), 'db'), [])
})

test('what is no answer of an agent is refused, by where it is wrong', () => {
  for (const body of [
    'no JSON',
    [],
    {},
    { api: [] },
    { db: 'x' },
    { db: [1] },
    { db: [{ ...row, SourceName: 5 }] },
  ]) {
    assert.throws(() => parseIntentions(answerOf(body), 'db'), { code: 'agent_answer' }, JSON.stringify(body))
  }
})
