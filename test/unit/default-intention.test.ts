// When the default for intentions is asked for again: what was learnt once need not stay true.
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { Intentions } from '../../src/authorization/intentions.ts'
import { IntentionsFollower } from '../../src/consul/intentions-follower.ts'
import { until } from '../support/until.ts'
import { type WrittenAnswer, writtenAgent } from '../support/written-agent.ts'

const never = new Promise<WrittenAnswer>(() => {})
const none = () => {}

interface Agent {
  /** What /authorize says of a source that nothing names. */
  answer: { readonly Authorized: boolean; readonly Reason: string }
  rules: readonly object[]
  asked: number
  /** Ends the questions that block. */
  readonly blocked: Set<() => void>
}

const allowed = { Authorized: true, Reason: 'ACLs disabled, access is allowed by default' }
const denied = { Authorized: false, Reason: 'Default behavior configured by ACLs' }

/** As 1.8.7 answers: `/match` does not block, the list does. */
async function follow(
  t: TestContext,
  options: { readonly defaultMs?: number; readonly pollMs?: number } = {},
) {
  const agent: Agent = { answer: allowed, rules: [], asked: 0, blocked: new Set() }
  const client = await writtenAgent(t, (path, query, request) => {
    if (path.endsWith('/authorize')) {
      agent.asked++
      return { body: agent.answer }
    }
    if (path.endsWith('/match')) return { body: { db: agent.rules } }
    if (query.has('index')) agent.blocked.add(() => request.destroy())
    return query.has('index') ? never : { body: [], headers: { 'x-consul-index': '7' } }
  })
  const told: Intentions[] = []
  const stop = new AbortController()
  t.after(() => stop.abort())
  const follower = new IntentionsFollower({
    client,
    service: 'db',
    onIntentions: intentions => told.push(intentions),
    onFailure: none,
    onContact: none,
    onWarning: none,
    signal: stop.signal,
    ...options,
  })
  void follower.run()
  await until(() => told.at(-1)?.defaultAction === 'allow', 'the default')
  return { agent, told }
}

test('it is asked for again after a while, with nothing having said that it changed', async t => {
  const { agent, told } = await follow(t, { defaultMs: 20 })
  agent.answer = denied
  await until(() => told.at(-1)?.defaultAction === 'deny', 'the new default')
})

test('it is asked for again when an agent that was away is back', async t => {
  const { agent, told } = await follow(t)
  const { asked } = agent
  agent.answer = denied
  // The watch of the list is cut, and the next question answered: an agent behind a balancer is back at once.
  await until(() => agent.blocked.size > 0, 'the watch')
  for (const cut of agent.blocked) cut()
  await until(() => told.at(-1)?.defaultAction === 'deny', 'the new default')
  assert.ok(agent.asked > asked)
})

test('it is asked for again when an intention goes, also one that did not hide it', async t => {
  const rule = { SourceName: 'api', DestinationName: 'db', Action: 'deny', SourceType: 'consul' }
  const { agent, told } = await follow(t, { pollMs: 10 })
  agent.rules = [rule]
  await until(() => told.at(-1)?.rules.length === 1, 'the intention')
  agent.answer = denied
  agent.rules = []
  await until(() => told.at(-1)?.defaultAction === 'deny', 'the new default')
})

test('an intention that comes does not have it asked for again', async t => {
  const { agent, told } = await follow(t, { pollMs: 5 })
  const { asked } = agent
  for (const count of [1, 2, 3]) {
    agent.rules = [{ SourceName: `s${count}`, DestinationName: 'db', Action: 'deny' }, ...agent.rules]
    await until(() => told.at(-1)?.rules.length === count, 'the intention')
  }
  assert.equal(agent.asked, asked)
})
