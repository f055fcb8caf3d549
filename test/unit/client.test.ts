// What goes along with every request to an agent.
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import test, { type TestContext } from 'node:test'
import type { ClientOptions } from '../../src/consul/client.ts'
import { until } from '../support/until.ts'
import { startWrittenMesh } from '../support/written-mesh.ts'

/** The parameters of a GET, of a GET that names a datacenter itself, and of a POST. */
async function parameters(t: TestContext, options: Partial<ClientOptions>): Promise<readonly string[]> {
  const agent = await startWrittenMesh(t)
  const client = agent.client(t, options)
  const request = { lane: 'short', path: '/v1/x', timeoutMs: 5_000 } as const
  await client.send(request)
  await client.send({ ...request, query: { dc: 'dc2', passing: 'true' } })
  await client.send({ ...request, method: 'POST', body: {} })
  return agent.asked.map(({ query }) => query.toString())
}

test('--stale goes along with what is read, and with nothing else', async t => {
  assert.deepEqual(await parameters(t, { stale: true }), ['stale=', 'dc=dc2&passing=true&stale=', ''])
})

test("--datacenter goes along with everything, and an upstream's own before it", async t => {
  assert.deepEqual(await parameters(t, { datacenter: 'dc1' }), ['dc=dc1', 'dc=dc2&passing=true', 'dc=dc1'])
})

test('a namespace and a partition go along with everything', async t => {
  const [first, , last] = await parameters(t, { namespace: 'shop', partition: 'edge' })
  assert.deepEqual([first, last], ['ns=shop&partition=edge', 'ns=shop&partition=edge'])
})

test('where nothing is asked for nothing goes along', async t => {
  assert.deepEqual(await parameters(t, {}), ['', 'dc=dc2&passing=true', ''])
})

test('the token goes along as it is at the time, and never in the URL; a user and password beside it', async t => {
  const seen: IncomingMessage['headers'][] = []
  const agent = await startWrittenMesh(t)
  const { answer } = agent
  agent.answer = (request, response) => {
    seen.push(request.headers)
    return answer.call(agent, request, response)
  }
  let token: string | undefined = 'first'
  const client = agent.client(t, { token: () => token, basicAuth: 'user:secret' })
  const ask = () => client.send({ lane: 'short', path: '/v1/x', timeoutMs: 5_000 })
  await ask()
  token = 'second'
  await ask()
  token = undefined
  await ask()
  assert.deepEqual(
    seen.map(headers => headers['x-consul-token']),
    ['first', 'second', undefined],
  )
  for (const { authorization } of seen)
    assert.equal(authorization, `Basic ${Buffer.from('user:secret').toString('base64')}`)
  for (const { query } of agent.asked) assert.equal(query.toString(), '')
})

test('a blocking query that is taken back is gone at the agent too, and leaves its place to the next', async t => {
  const agent = await startWrittenMesh(t)
  const path = '/v1/x'
  agent.say(path, { by: 'index', index: 7, body: [] })
  const client = agent.client(t)
  // More of them, one after the other, than there are connections for watches.
  for (let at = 0; at < 10; at++) {
    const stop = new AbortController()
    const query = { index: '7' }
    const asked = client.send({ lane: 'watch', path, query, timeoutMs: 60_000, signal: stop.signal })
    await until(() => agent.waiting(path) === 1, 'the query')
    stop.abort()
    await assert.rejects(asked)
    await until(() => agent.waiting(path) === 0, 'its end')
  }
  assert.equal(agent.asked.length, 10)
})
