// Section 12, scenario 2, with Consul's built-in proxy on one end: one direction is closed while the other has more to say. The
// built-in closes both directions at the first end, so what comes behind it is lost; sidesplice hands on all that it gets.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import type { End } from '../support/ends.ts'
import { startMixedPair } from '../support/mixed-pair.ts'
import { until } from '../support/until.ts'

test("the built-in loses a reply behind the request's end, whichever end it is; request and end came through", async t => {
  const agent = await startConsul(t)
  const serve = ({ socket }: End) => {
    socket.write('welcome')
    socket.on('end', () => socket.end('reply'))
  }
  const pair = await startMixedPair(t, agent, { serve })
  for (const { open, end } of [
    { open: () => pair.toBuiltIn(), end: pair.db },
    { open: () => pair.toSidesplice(), end: pair.web },
  ]) {
    const client = open()
    await client.gets('welcome')
    client.send('request')
    client.socket.end()
    await client.isOver()
    const app = await end.app.connection()
    // A reset may follow: the reply was not taken.
    await until(() => app.ended, 'the end of the request')
    // The built-in's failure: half-close lost.
    assert.deepEqual([app.text, client.text], ['request', 'welcome'])
  }
})

test("the built-in loses a request behind the reply's end, whichever end it is; reply and end came through", async t => {
  const agent = await startConsul(t)
  const serve = ({ socket }: End) => {
    socket.end('reply')
  }
  const pair = await startMixedPair(t, agent, { serve })
  for (const { open, end } of [
    { open: () => pair.toBuiltIn(), end: pair.db },
    { open: () => pair.toSidesplice(), end: pair.web },
  ]) {
    const client = open()
    await client.ends()
    client.send('request')
    client.socket.end()
    const app = await end.app.connection()
    await app.isOver()
    // The built-in's failure: half-close lost.
    assert.deepEqual([client.text, app.received], ['reply', 0])
  }
})
