import assert from 'node:assert/strict'
import test from 'node:test'
import { SidespliceError } from '../../src/errors.ts'
import { AgentContact } from '../../src/proxy/agent-contact.ts'
import type { Log } from '../../src/proxy/log.ts'

function contact() {
  const lines: string[] = []
  const write = (_: object, message: string) => lines.push(message)
  const log = { debug: write, info: write, warn: write, error: write } as unknown as Log
  const clock = { now: 1_000 }
  return { lines, clock, contact: new AgentContact(log, () => clock.now) }
}
const gone = new SidespliceError('gone', { source: 'consul', code: 'agent_unreachable' })
const denied = (text: string) => new SidespliceError(text, { source: 'consul', code: 'agent_denied' })

test('an agent that goes is said once, whoever notices, and so is its return', () => {
  const { contact: agent, lines } = contact()
  for (const watch of ['roots', 'leaf', 'roots']) agent.failed(watch, gone)
  assert.equal(lines.length, 1)
  for (const watch of ['roots', 'leaf']) agent.answered(watch)
  assert.equal(lines.length, 2)
  agent.failed('leaf', gone)
  assert.equal(lines.length, 3)
})

test('a watch that alone gets no answer, while others do, is said once and not at each of its tries', () => {
  const { contact: agent, lines } = contact()
  for (let tries = 0; tries < 5; tries++) {
    agent.failed('upstream db', gone)
    agent.answered('roots')
  }
  assert.equal(lines.length, 2)
  agent.failed('roots', gone)
  assert.equal(lines.length, 3, 'an outage beside it is said')
  agent.answered('roots')
  agent.answered('upstream db')
  agent.failed('upstream db', gone)
  assert.equal(lines.length, 5, 'and its own, once it was answered')
})

test('a refusal is said once for each watch, and again after a good answer or where it is another', () => {
  const { contact: agent, lines } = contact()
  for (const watch of ['leaf', 'leaf', 'roots']) agent.failed(watch, denied('403'))
  assert.equal(lines.length, 2)
  agent.failed('leaf', denied('500'))
  assert.equal(lines.length, 3)
  agent.answered('leaf')
  agent.answered('leaf')
  assert.equal(lines.length, 4)
  agent.failed('leaf', denied('500'))
  assert.equal(lines.length, 5)
})

test("a watch's age counts from its last good answer, refusals are none, and one that ended has no age", () => {
  const { contact: agent, clock } = contact()
  agent.begin('leaf')
  clock.now += 500
  assert.equal(agent.ages().get('leaf'), 500)
  agent.answered('leaf')
  clock.now += 200
  agent.failed('leaf', denied('403'))
  assert.equal(agent.ages().get('leaf'), 200)
  agent.end('leaf')
  agent.answered('leaf')
  assert.equal(agent.ages().size, 0)
})
