// Policy answers in its own time, or never: a data plane waits as long as it was told, and takes the first answer alone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AdmitAnswer, RouteAnswer } from '../../src/data-plane/interface.ts'
import { conformance } from '../support/data-planes.ts'
import { type End, echo } from '../support/ends.ts'
import { mesh, spiffeId } from '../support/pki.ts'
import { endpoint, openRig, type Rig } from '../support/rig.ts'
import { until } from '../support/until.ts'

const policyTimeoutMs = 300

conformance('policy answers', plane => {
  function admission(rig: Rig, session: number): AdmitAnswer {
    const { generation } = rig.b
    return {
      session,
      generation,
      admitted: true,
      peer: spiffeId('web'),
      target: rig.app.address,
      connectTimeoutMs: 1_000,
    }
  }

  test('an admission that comes later is as good as one at once', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const held: (() => void)[] = []
    rig.b.admit = (question, answer) => held.push(() => answer(admission(rig, question.session)))
    const client = rig.connect()
    await until(() => held.length === 1, 'the question')
    assert.equal((await rig.b.session('deciding')).id, rig.b.admitQuestions[0]?.session)
    assert.equal(rig.b.plane.counters().listeners.get('public')?.waiting, 1)
    held[0]?.()
    await client.echoes('hello')
    assert.equal(rig.b.plane.counters().listeners.get('public')?.waiting, 0)
    assert.equal((await rig.b.session('relaying')).peer, spiffeId('web'))
  })

  test('answers may come in another order than the questions', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const held: (() => void)[] = []
    rig.a.route = (question, answer) =>
      held.push(() => answer(rig.a.plan(question, [endpoint(rig.publicAddress)])))
    const clients: End[] = []
    for (const at of [0, 1, 2]) {
      clients.push(rig.connect())
      await until(() => held.length === at + 1, 'the question')
    }
    for (const at of [2, 0, 1]) {
      held[at]?.()
      await clients[at]?.echoes(`number ${at}`)
    }
  })

  test('a second answer is ignored', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    rig.a.route = (question, answer) => {
      answer(rig.a.plan(question, [endpoint(rig.publicAddress)]))
      answer(rig.a.refusal(question, 'denied'))
    }
    rig.b.admit = (question, answer) => {
      answer(admission(rig, question.session))
      answer(rig.b.refusal(question, 'denied'))
      setImmediate(answer, rig.b.refusal(question, 'denied'))
    }
    const client = rig.connect()
    await client.echoes('one')
    await client.echoes('two')
  })

  test("an answer that comes again is no answer to the session's next question", async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { b } = rig
    const held: ((answer: AdmitAnswer) => void)[] = []
    b.admit = (_, answer) => held.push(answer)
    const client = rig.connect()
    client.send('hello')
    await until(() => held.length === 1, 'the first question')
    const id = b.admitQuestions[0]?.session ?? 0
    const older = admission(rig, id)
    b.generation++
    b.setIdentity(mesh.db, mesh.root)
    held[0]?.(older)
    await until(() => held.length === 2, 'the next question')
    held[0]?.(admission(rig, id))
    held[1]?.(b.refusal({ session: id }, 'denied'))
    await client.fails()
    assert.equal((await b.record()).reason, 'denied')
    assert.equal(rig.app.connections.length, 0)
  })

  test('a refusal is not undone by a second answer', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    rig.b.admit = (question, answer) => {
      answer(rig.b.refusal(question, 'denied'))
      answer(admission(rig, question.session))
    }
    const client = rig.connect()
    client.send('hello')
    await client.fails()
    assert.equal((await rig.b.record()).reason, 'denied')
    assert.equal(rig.app.connections.length, 0)
  })

  test('an answer for a session that does not exist is ignored', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    rig.b.admit = (question, answer) => {
      answer(admission(rig, 987_654))
      answer(admission(rig, question.session))
    }
    await rig.connect().echoes('hello')
  })

  test('no admission in time is a refusal, and a late one changes nothing', async t => {
    const rig = await openRig(t, plane, { inbound: { policyTimeoutMs } })
    const held: ((answer: AdmitAnswer) => void)[] = []
    rig.b.admit = (_, answer) => held.push(answer)
    const client = rig.connect()
    client.send('hello')
    await client.fails()
    const record = await rig.b.record()
    assert.equal(record.reason, 'policy_timeout')
    assert.ok((record.policyMs ?? 0) >= policyTimeoutMs * 0.9, `after ${record.policyMs} ms`)
    held[0]?.(admission(rig, record.id))
    rig.b.admits(rig.app.address)
    const next = await rig.connected()
    next.client.send('hello')
    await next.server.gets('hello')
    assert.equal(rig.app.connections.length, 1)
  })

  test('no route in time is an error at the app, and a late one changes nothing', async t => {
    const rig = await openRig(t, plane, { serve: echo, outbound: { policyTimeoutMs } })
    const held: ((answer: RouteAnswer) => void)[] = []
    rig.a.route = (_, answer) => held.push(answer)
    const client = rig.connect()
    assert.equal(await client.fails(), 'ECONNRESET')
    const record = await rig.a.record()
    assert.equal(record.reason, 'policy_timeout')
    held[0]?.(rig.a.plan({ session: record.id, listener: 'db' }, [endpoint(rig.publicAddress)]))
    rig.a.routes([endpoint(rig.publicAddress)])
    await rig.connect().echoes('hello')
    assert.equal(rig.app.connections.length, 1)
  })

  for (const reason of ['denied', 'no_endpoints', 'not_routed'] as const) {
    test(`a route refused as ${reason} is an error at the app and in the record`, async t => {
      const rig = await openRig(t, plane)
      rig.a.route = (question, answer) => answer(rig.a.refusal(question, reason))
      const client = rig.connect()
      assert.equal(await client.fails(), 'ECONNRESET')
      const record = await rig.a.record()
      assert.equal(record.reason, reason)
      assert.deepEqual(record.attempts, [])
    })
  }

  test('more than maxWaiting either wait in the backlog or are closed as overload', async t => {
    const rig = await openRig(t, plane, { serve: echo, outbound: { maxWaiting: 3, policyTimeoutMs: 10_000 } })
    const held: (() => void)[] = []
    rig.a.route = (question, answer) =>
      held.push(() => answer(rig.a.plan(question, [endpoint(rig.publicAddress)])))
    const waiting = [rig.connect(), rig.connect(), rig.connect()]
    await until(() => held.length === 3, 'three questions')
    const beyond = rig.connect()
    if (!rig.a.plane.capabilities.backlog) {
      assert.equal(await beyond.fails(), 'ECONNRESET')
      assert.equal((await rig.a.record()).reason, 'policy_overload')
    }
    for (const answer of held) answer()
    for (const client of waiting) await client.echoes('hello')
    const next = rig.a.plane.capabilities.backlog ? beyond : rig.connect()
    await until(() => held.length === 4, 'the next question')
    held[3]?.()
    await next.echoes('hello')
  })
})
