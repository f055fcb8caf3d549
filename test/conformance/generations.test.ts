// An answer is good for its generation: where the configuration moved before the relay, policy is asked again and the new
// answer holds; a chain that was verified under other roots is verified again.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openSlowApp } from '../support/black-hole.ts'
import { conformance } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { issueRoot, mesh, spiffeId } from '../support/pki.ts'
import { endpoint, openRig, type Rig } from '../support/rig.ts'

conformance('generations', plane => {
  const foreign = issueRoot('foreign')

  /** B's policy: the first answer admits and then the generation moves; what comes after is up to the test. */
  async function moveAfterAdmission(rig: Rig, next: () => void): Promise<void> {
    const { b } = rig
    b.admit = (question, answer) => {
      const generation = b.generation
      b.generation++
      next()
      answer({
        session: question.session,
        generation,
        admitted: true,
        peer: spiffeId('web'),
        target: rig.app.address,
        connectTimeoutMs: 1_000,
      })
      b.setIdentity(mesh.db, mesh.root)
    }
  }

  test('an admission of an older generation is asked for again, and a refusal then holds', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    await moveAfterAdmission(rig, () => {
      rig.b.admit = (question, answer) => answer(rig.b.refusal(question, 'denied'))
    })
    const client = rig.connect()
    client.send('hello')
    await client.fails()
    const record = await rig.b.record()
    assert.equal(record.reason, 'denied')
    assert.equal(record.relayed, false)
    assert.equal(rig.b.admitQuestions.length, 2)
    assert.equal(rig.b.admitQuestions[0]?.session, rig.b.admitQuestions[1]?.session)
    for (const { received } of rig.app.connections) assert.equal(received, 0)
  })

  test('an admission of an older generation is asked for again, and an admission then holds', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    await moveAfterAdmission(rig, () => rig.b.admits(rig.app.address))
    await rig.connect().echoes('hello')
    assert.equal(rig.b.admitQuestions.length, 2)
  })

  test('an admission that grows old while the app is dialed is asked for again, and a refusal then holds', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { b } = rig
    const slow = await openSlowApp(t)
    b.admits(slow.address, { connectTimeoutMs: 10_000 })
    const client = rig.connect()
    client.send('hello')
    await b.session('dialing')
    b.generation++
    b.admit = (question, answer) => answer(b.refusal(question, 'denied'))
    b.setIdentity(mesh.db, mesh.root)
    slow.open()
    await client.fails()
    const record = await b.record()
    assert.equal(record.reason, 'denied')
    assert.equal(record.relayed, false)
    assert.equal(b.admitQuestions.length, 2)
  })

  test('an admission of the generation of now is asked for once', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    await rig.connect().echoes('hello')
    assert.equal(rig.b.admitQuestions.length, 1)
    assert.equal(rig.a.routeQuestions.length, 1)
  })

  /** A's policy: a plan, and then the generation moves. */
  function moveAfterPlan(rig: Rig, next: () => void): void {
    const { a } = rig
    a.route = (question, answer) => {
      answer(a.plan(question, [endpoint(rig.publicAddress)]))
      a.generation++
      a.setIdentity(mesh.web, mesh.root)
      next()
    }
  }

  test('a plan of an older generation is asked for again, and a refusal then holds', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    moveAfterPlan(rig, () => {
      rig.a.route = (question, answer) => answer(rig.a.refusal(question, 'denied'))
    })
    const client = rig.connect()
    client.send('hello')
    assert.equal(await client.fails(), 'ECONNRESET')
    const record = await rig.a.record()
    assert.equal(record.reason, 'denied')
    assert.equal(record.relayed, false)
    assert.equal(rig.a.routeQuestions.length, 2)
    for (const { received } of rig.app.connections) assert.equal(received, 0)
  })

  test('a plan of an older generation that no longer names the endpoint is left for the new one', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    moveAfterPlan(rig, () => rig.a.routes([endpoint(rig.publicAddress, { endpoint: 'db-2' })]))
    const client = rig.connect()
    await client.echoes('hello')
    client.socket.end()
    const record = await rig.a.record()
    assert.deepEqual(
      record.attempts.map(({ endpoint, outcome }) => [endpoint, outcome]),
      [
        ['db-1', 'superseded'],
        ['db-2', 'connected'],
      ],
    )
    assert.equal(rig.a.plane.counters().listeners.get('db')?.endpoints.get('db-1')?.failures, 0)
  })

  test('a plan of an older generation that the new one confirms is used', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    moveAfterPlan(rig, () => rig.a.routes([endpoint(rig.publicAddress)]))
    await rig.connect().echoes('hello')
    assert.equal(rig.a.routeQuestions.length, 2)
  })

  test('a change of listeners moves the generation too', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const { b } = rig
    b.admit = (question, answer) => {
      answer({
        session: question.session,
        generation: b.generation,
        admitted: true,
        peer: spiffeId('web'),
        target: rig.app.address,
        connectTimeoutMs: 1_000,
      })
      b.generation++
      void b.listen()
      b.admit = (again, answerAgain) => answerAgain(b.refusal(again, 'denied'))
    }
    const client = rig.connect()
    client.send('hello')
    await client.fails()
    assert.equal((await b.record()).reason, 'denied')
  })

  test('a peer that dialed us is verified again where the roots changed while policy decided', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const other = await foreign
    rig.b.admit = (question, answer) => {
      rig.b.generation++
      rig.b.setIdentity(mesh.db, other)
      rig.b.admits(rig.app.address)
      rig.b.admit(question, answer)
    }
    const client = rig.connect()
    client.send('hello')
    await client.fails()
    assert.equal((await rig.b.record()).reason, 'peer_certificate_refused')
    for (const { received } of rig.app.connections) assert.equal(received, 0)
  })

  test('a peer that dialed us stays where the new roots hold its own', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const other = await foreign
    rig.b.admit = (question, answer) => {
      rig.b.generation++
      rig.b.setIdentity(mesh.db, other, mesh.root)
      rig.b.admits(rig.app.address)
      rig.b.admit(question, answer)
    }
    await rig.connect().echoes('hello')
  })

  test('a peer that we dialed is verified again where the roots changed while policy decided', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    const other = await foreign
    moveAfterPlan(rig, () => {
      rig.a.route = (question, answer) => {
        rig.a.generation++
        rig.a.setIdentity(mesh.web, other)
        rig.a.routes([endpoint(rig.publicAddress)])
        rig.a.route(question, answer)
      }
    })
    const client = rig.connect()
    client.send('hello')
    await client.fails()
    const record = await rig.a.record()
    assert.equal(record.relayed, false)
    assert.deepEqual(
      [...new Set(record.attempts.map(({ outcome }) => outcome))],
      ['peer_certificate_refused'],
    )
    for (const { received } of rig.app.connections) assert.equal(received, 0)
  })
})
