// Connections that resume earlier ones: between two of ours, and with the openssl command line as the peer. Whatever is resumed, policy is asked.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { conformance, type DataPlaneUnderTest, native } from '../support/data-planes.ts'
import { echo } from '../support/ends.ts'
import { sClient, sServer } from '../support/openssl.ts'
import { issueLeaf, issueRoot, mesh } from '../support/pki.ts'
import { endpoint, openRig, type Rig } from '../support/rig.ts'

/** Whether A's next session, and B's, is a resumed one. The app answers, so that a ticket has come by then. */
async function passes(rig: Rig): Promise<readonly (true | undefined)[]> {
  const client = rig.connect()
  client.send('hello')
  await client.gets('hello')
  client.socket.end()
  await client.isOver()
  return [(await rig.a.record()).resumed, (await rig.b.record()).resumed]
}

const full = [undefined, undefined]
/** Where the kernel has the keys a client takes no tickets. */
const againOn = ({ relay }: DataPlaneUnderTest) => (relay === 'records' ? [true, true] : full)

conformance('Resumption', plane => {
  const withTicket = async (
    t: TestContext,
    flag: string,
    options: { readonly resumption?: boolean } = {},
  ) => {
    const rig = await openRig(t, plane, { serve: ({ socket }) => socket.write('ready\n'), ...options })
    const folder = mkdtempSync(join(tmpdir(), 'sidesplice-session-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const session = join(folder, 'session.pem')
    const dial = async (flags: readonly string[]) => {
      const client = sClient(t, rig.publicAddress, [flag, ...flags])
      await client.prints('ready')
      client.send('Q\n')
      await client.exit()
      return client.output
    }
    assert.match(await dial(['-sess_out', session]), /New, TLSv1/)
    // Where neither ticket nor session ID came there is nothing to resume by.
    const given = statSync(session, { throwIfNoEntry: false }) !== undefined
    return { rig, dial, given, back: ['-sess_in', session] }
  }
  const notResumed = async (
    t: TestContext,
    flag: string,
    options: { readonly resumption?: boolean } = {},
  ) => {
    const { rig, dial, given, back } = await withTicket(t, flag, options)
    if (!given) return
    const output = await dial(back)
    assert.match(output, /New, TLSv1/)
    assert.doesNotMatch(output, /Reused, /)
    assert.equal(rig.b.admitQuestions.length, 2)
  }

  test('a TLSv1.2 session is not resumed', t => notResumed(t, '-tls1_2'))

  test('a TLSv1.3 session is not resumed where it is switched off', t =>
    notResumed(t, '-tls1_3', { resumption: false }))

  test('a peer that asks for no ticket gets none from a data plane that resumes, and is not resumed', async t => {
    const { rig, given } = await withTicket(t, '-tls1_3')
    if (rig.b.plane.capabilities.resumption) assert.equal(given, false)
    await notResumed(t, '-tls1_3')
  })

  test("OpenSSL's tickets are taken and used by a data plane that can, and by none in TLS 1.2", async t => {
    const rig = await openRig(t, plane)
    for (const [flag, resumes] of [
      ['-tls1_2', false],
      ['-tls1_3', againOn(plane)[0] === true],
    ] as const) {
      const { address } = await sServer(t, [flag, '-rev', '-Verify', '1', '-verify_return_error'])
      rig.a.routes([endpoint(address)])
      for (const expected of [undefined, resumes || undefined]) {
        const client = rig.connect()
        client.send('hello\n')
        await client.gets('olleh\n')
        client.socket.end()
        await client.isOver()
        const { resumed, relayed } = await rig.a.record()
        assert.deepEqual([relayed, resumed], [true, expected], flag)
      }
    }
  })

  test('a session between two of ours is resumed by those that can, and carries bytes as any other', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    assert.deepEqual(await passes(rig), full)
    const again = againOn(plane)
    for (let round = 0; round < 3; round++) assert.deepEqual(await passes(rig), again)
    assert.equal(rig.b.admitQuestions.length, 4)
    const [first, ...others] = rig.b.admitQuestions
    for (const { uriSans, serial } of others)
      assert.deepEqual([uriSans, serial], [first?.uriSans, first?.serial])
  })
})

native('Resumption, bound', plane => {
  const again = againOn(plane)

  test('a peer that is denied meanwhile is denied on the connection that it resumes', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    await passes(rig)
    rig.b.admit = (question, answer) => answer(rig.b.refusal(question, 'denied'))
    const client = rig.connect()
    await client.fails()
    const record = await rig.b.record()
    assert.deepEqual([record.reason, record.resumed], ['denied', again[1]])
    assert.equal((await rig.a.record()).reason, 'denied_by_peer')
    assert.equal(rig.app.connections.length, 1)
  })

  for (const which of ['a', 'b'] as const) {
    test(`a resumed session is ended live as any other (at ${which === 'a' ? 'the dialing' : 'the dialed'} sidecar)`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      await passes(rig)
      const { client, server } = await rig.connected()
      await client.echoes('hello')
      const session = await rig[which].session('relaying')
      assert.equal(rig[which].plane.terminate([session.id], 'no_longer_allowed'), 1)
      const { reason, resumed } = await rig[which].record()
      assert.deepEqual([reason, resumed], ['no_longer_allowed', again[0]])
      assert.equal(await client.fails(), 'ECONNRESET')
      assert.equal(await server.fails(), 'ECONNRESET')
    })
  }

  for (const [who, change] of [
    ['of the side that is dialed', (rig, leaf, roots) => rig.b.setIdentity(leaf.db, ...roots)],
    ['of the side that dials', (rig, leaf, roots) => rig.a.setIdentity(leaf.web, ...roots)],
  ] as const satisfies readonly (readonly [
    string,
    (rig: Rig, leaf: { web: typeof mesh.web; db: typeof mesh.db }, roots: (typeof mesh.root)[]) => void,
  ])[]) {
    test(`a new certificate ${who} ends resumption, until a full handshake`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      await passes(rig)
      assert.deepEqual(await passes(rig), again)
      const [web, db] = [await issueLeaf('web', mesh.root), await issueLeaf('db', mesh.root)]
      change(rig, { web, db }, [mesh.root])
      assert.deepEqual(await passes(rig), full)
      assert.deepEqual(await passes(rig), again)
    })

    test(`other roots ${who} end resumption, until a full handshake`, async t => {
      const rig = await openRig(t, plane, { serve: echo })
      await passes(rig)
      assert.deepEqual(await passes(rig), again)
      change(rig, mesh, [mesh.root, await issueRoot('another')])
      assert.deepEqual(await passes(rig), full)
      assert.deepEqual(await passes(rig), again)
    })
  }

  test('a session whose ticket was given by another process of the peer is a full one', async t => {
    const rig = await openRig(t, plane, { serve: echo })
    await passes(rig)
    // The same certificate, and keys of tickets that are as new as those of a process that has begun.
    rig.b.setIdentity(mesh.db, mesh.root)
    assert.deepEqual(await passes(rig), full)
    assert.deepEqual(await passes(rig), again)
  })
})
