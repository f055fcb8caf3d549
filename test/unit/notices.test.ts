import assert from 'node:assert/strict'
import test from 'node:test'
import { Notices } from '../../src/config/notices.ts'

test('a notice is said once, and what was said does not grow with every text that the catalog makes up', () => {
  const said: string[] = []
  const notices = new Notices(message => said.push(message))
  const count = (message: string) => said.filter(one => one === message).length
  notices.say('first')
  notices.say('first')
  assert.equal(count('first'), 1)
  for (let at = 0; at < 2_000; at++) notices.say(`instance ${at}`)
  assert.equal(said.length, 2_001)
  // Forgotten, like every text that was said long ago.
  notices.say('first')
  assert.equal(count('first'), 2)
})
