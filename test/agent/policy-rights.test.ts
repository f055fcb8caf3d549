// What a token may do, by its policies: the embedded agent answers as Consul 1.8.7 does, for every token and every route.
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import test, { type TestContext } from 'node:test'
import { type ConsulAgent, startConsul } from '../support/consul-agent.ts'
import { callsOf, type Given, type TokenCase, tokenCases } from '../support/rights-table.ts'
import { eventually } from '../support/running-sidecar.ts'
import { noteSecret } from '../support/secrets.ts'

type Policy = 'allow' | 'deny'

async function open(t: TestContext, defaultPolicy: Policy, real: boolean): Promise<ConsulAgent> {
  const master = randomUUID()
  noteSecret(master)
  const ttls = { token_ttl: '0s', policy_ttl: '0s', role_ttl: '0s' }
  const acl = { enabled: true, default_policy: defaultPolicy, ...ttls, tokens: { master, agent: master } }
  const telemetry = { prometheus_retention_time: '60s' }
  const agent = await startConsul(t, { config: { acl, telemetry, node_name: 'n1' }, token: master, real })
  await eventually(async () => (await agent.send('GET', '/v1/acl/tokens')).status === 200, 'ACLs')
  await register(agent)
  const found = async () => (await agent.call<object[]>('GET', '/v1/health/connect/db')).length === 1
  await eventually(found, 'the catalog to know them')
  for (const [source, destination] of [
    ['web', 'db'],
    ['db', '*'],
    ['*', 'db'],
    ['api', 'other'],
  ] as const)
    await agent.intention(source, destination, 'allow')
  return agent
}

async function register(agent: ConsulAgent): Promise<void> {
  await agent.register({ ID: 'db1', Name: 'db', Port: 1, Connect: { SidecarService: { Port: 2 } } })
  await agent.register({ ID: 'web1', Name: 'web', Port: 3 })
}

async function give(agent: ConsulAgent, own: string): Promise<Given> {
  const made = async <T>(method: string, path: string, body: object) => agent.call<T>(method, path, body)
  const { ID: query } = await made<{ ID: string }>('POST', '/v1/query', {
    Name: 'q',
    Service: { Service: 'db' },
  })
  const { ID: policy } = await made<{ ID: string }>('PUT', '/v1/acl/policy', { Name: `given-${own}` })
  const { AccessorID: token } = await made<{ AccessorID: string }>('PUT', '/v1/acl/token', {
    Description: own,
  })
  return {
    ...{ own, query, policy, token },
    intention: await agent.intention(`peer-${own}`, 'db', 'allow'),
    wildcard: await agent.intention(`peer-${own}`, '*', 'allow'),
  }
}

async function secretOf(
  agent: ConsulAgent,
  { rules = [], datacenters, identity, secret }: TokenCase,
  own: string,
) {
  if (secret !== undefined) return secret
  const Policies: object[] = []
  for (const [at, Rules] of rules.entries()) {
    const Name = `${own}-${at}`
    await agent.call('PUT', '/v1/acl/policy', {
      Name,
      Rules,
      ...(datacenters && { Datacenters: datacenters }),
    })
    Policies.push({ Name })
  }
  const ServiceIdentities = identity === undefined ? [] : [{ ServiceName: identity }]
  const made = await agent.call<{ SecretID: string }>('PUT', '/v1/acl/token', { Policies, ServiceIdentities })
  return made.SecretID
}

/** Takes back what calls have made and what was given, as far as it is still there: the next token finds the same. */
async function clear(agent: ConsulAgent, own: string): Promise<void> {
  const rows = async (path: string) =>
    (await agent.call<{ ID: string; Name: string; SourceName?: string }[]>('GET', path)).filter(
      row => (row.SourceName ?? row.Name).includes(own) || row.Name === 'q',
    )
  for (const path of ['/v1/connect/intentions', '/v1/query'])
    for (const { ID } of await rows(path)) await agent.call('DELETE', `${path}/${ID}`)
  for (const id of ['of-db', 'of-node']) await agent.send('PUT', `/v1/agent/check/deregister/${id}`)
  await agent.send('PUT', '/v1/agent/service/deregister/db-by-hand')
  await register(agent)
  // Consul tells its catalog with the token that registered what goes: so that one keeps its rights until then.
  const isClear = async () => {
    const checks = await agent.call<object[]>('GET', '/v1/health/checks/db')
    return checks.length === 0 && (await agent.call<object[]>('GET', '/v1/health/connect/db')).length === 1
  }
  await eventually(isClear, 'the catalog to be as it was')
  for (const { ID } of await rows('/v1/acl/policies')) await agent.call('DELETE', `/v1/acl/policy/${ID}`)
}

/** Each answer as a line: the call, its status, and of a list what was seen. */
async function answersTo(agent: ConsulAgent, one: TokenCase, own: string): Promise<readonly string[]> {
  const secret = await secretOf(agent, one, own)
  const given = await give(agent, own)
  const lines: string[] = []
  for (const { method, path, body, seen } of callsOf(given)) {
    const { status, body: text } = await agent.send(method, path, body, secret)
    const rows =
      seen === undefined || status !== 200
        ? ''
        : seen(JSON.parse(text) as never)
            .toSorted()
            .join(', ')
    // IDs differ between the two.
    const named = Object.entries(given).reduce(
      (line, [key, id]) => (key === 'own' ? line : line.replace(id, key)),
      path,
    )
    const about = body === undefined ? '' : ` ${JSON.stringify(body)}`
    lines.push(`${method} ${named}${about}: ${status}${seen === undefined ? '' : ` [${rows}]`}`)
  }
  await clear(agent, own)
  return lines
}

for (const defaultPolicy of ['deny', 'allow'] as const)
  test(`where the default is ${defaultPolicy}, each token gets of each route what Consul gives it`, async t => {
    const [consul, embedded] = [await open(t, defaultPolicy, true), await open(t, defaultPolicy, false)]
    const statuses = new Set<string>()
    for (const [at, one] of tokenCases.entries()) {
      await t.test(one.title, async () => {
        const own = `case${at}`
        const expected = await answersTo(consul, one, own)
        assert.deepEqual(await answersTo(embedded, one, own), expected)
        for (const line of expected) statuses.add(line.replace(/ \[.*/, '').slice(-3))
      })
    }
    // Both sides of it: a table of refusals alone, or of none, would show nothing.
    assert.ok(statuses.has('200') && statuses.has('403'))
  })
