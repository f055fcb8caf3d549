import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { AgentQuestion, AgentVerdict, AskAgent } from '../../src/authorization/authorization.ts'
import type { Intentions } from '../../src/authorization/intentions.ts'
import type { SessionView } from '../../src/data-plane/interface.ts'
import { SidespliceError } from '../../src/errors.ts'
import { parseLeaf, parseTrustBundle } from '../../src/identity/identity.ts'
import { admit } from '../../src/policy/admit.ts'
import { deniedSessions, sessionsToAskAbout } from '../../src/policy/denied-sessions.ts'
import type { AdmitAnswer } from '../../src/policy/policy.ts'
import { AgentAuthorization } from '../../src/proxy/agent-authorization.ts'
import type { Snapshot } from '../../src/snapshot/snapshot.ts'
import { mesh, spiffeId } from '../support/pki.ts'
import { until } from '../support/until.ts'

const trust = parseTrustBundle(mesh.root.certPem)
const keyPem = Buffer.from(mesh.db.keyPem)
const leaf = parseLeaf({ certPem: mesh.db.chainPem, keyPem, trust, now: Date.now() })
const news = (defaultAction: 'allow' | 'deny'): Intentions => ({ rules: [], defaultAction })

function snapshot({
  generation = 7,
  intentions = undefined as Intentions | undefined,
  endDeniedSessions = true,
} = {}): Snapshot & { readonly inbound: object } {
  return {
    generation,
    service: 'db',
    identity: { leaf, trust },
    inbound: {
      key: 'public',
      bind: { host: '127.0.0.1', port: 1 },
      localApp: { host: '127.0.0.1', port: 2 },
      authorization: { by: 'agent', intentions },
      endDeniedSessions,
      handshakeTimeoutMs: 1,
      localConnectTimeoutMs: 77,
      halfCloseTimeoutMs: 1,
      idleTimeoutMs: 0,
    },
    upstreams: [],
  }
}

const asks = (session: number, ...uriSans: string[]) => ({
  session,
  listener: 'public',
  uriSans,
  serial: '0A',
})
const live = (id: number, peer?: string, listener = 'public'): SessionView => ({
  id,
  listener,
  name: 'db',
  direction: 'inbound',
  state: 'relaying',
  startedAt: 0,
  bytesToUpstream: 0,
  bytesToDownstream: 0,
  ...(peer !== undefined && { peer }),
})
const allowed = { authorized: true, reason: 'Default' }
const denied = { authorized: false, reason: 'Matched intention: DENY' }
const away = new SidespliceError('nobody there', { source: 'consul', code: 'agent_unreachable' })

test('the agent is to be asked about a peer of our mesh, and about no other', () => {
  const answer = admit(snapshot(), asks(5, spiffeId('web')))
  assert.ok(answer.admitted === undefined)
  assert.deepEqual(answer.question, { service: 'db', uri: spiffeId('web'), serial: '0A' })
  assert.deepEqual([answer.admission.session, answer.admission.generation], [5, 7])
  for (const [uris, reason] of [
    [[spiffeId('web', 'other.test')], 'foreign_trust_domain'],
    [[spiffeId('web'), spiffeId('web')], 'peer_identity_refused'],
    [['https://mesh.test/web'], 'peer_identity_refused'],
    [[], 'peer_identity_refused'],
    [['spiffe://mesh.test/agent/client/dc/dc1/id/n1'], 'denied'],
  ] as const) {
    const refused = admit(snapshot(), asks(5, ...uris))
    assert.ok(refused.admitted === false, String(uris))
    assert.equal(refused.reason, reason)
  }
})

test('the sessions of a peer are one question, which names our trust domain also for a former one', () => {
  const sessions = [
    live(1, spiffeId('web')),
    live(2, spiffeId('web', 'former.test')),
    live(3, spiffeId('api')),
    live(4),
    live(5, spiffeId('web'), 'removed'),
  ]
  assert.deepEqual(sessionsToAskAbout(snapshot(), sessions), [
    { question: { service: 'db', uri: spiffeId('web') }, sessions: [1, 2] },
    { question: { service: 'db', uri: spiffeId('api') }, sessions: [3] },
  ])
  assert.deepEqual(deniedSessions(snapshot(), sessions), [], 'none is denied before the agent has said so')
  assert.deepEqual(sessionsToAskAbout(snapshot({ endDeniedSessions: false }), sessions), [])
  const byList = { ...snapshot().inbound, authorization: { by: 'allow' as const, allow: [] } }
  assert.deepEqual(sessionsToAskAbout({ ...snapshot(), inbound: byList } as Snapshot, sessions), [])
})

interface Rig {
  readonly authorization: AgentAuthorization
  readonly asked: AgentQuestion[]
  readonly ended: number[]
  readonly warnings: string[]
  sessions: SessionView[]
}

function rig(
  t: TestContext,
  answer: (question: AgentQuestion, signal: AbortSignal) => AgentVerdict | Promise<AgentVerdict>,
  { answerMs = 10_000, lookAgainMs = [] as readonly number[] } = {},
): Rig {
  const ask: AskAgent = async (question, signal) => {
    asked.push(question)
    return answer(question, signal)
  }
  const [asked, ended, warnings] = [[] as AgentQuestion[], [] as number[], [] as string[]]
  const log = { debug() {}, info() {}, error() {}, warn: (_: object, text: string) => warnings.push(text) }
  const dataPlane = {
    sessions: () => made.sessions,
    terminate: (ids: readonly number[], reason: string) => {
      assert.equal(reason, 'no_longer_allowed')
      ended.push(...ids)
      made.sessions = made.sessions.filter(({ id }) => !ids.includes(id))
      return ids.length
    },
  }
  const authorization = new AgentAuthorization({ ask, dataPlane, log, answerMs, lookAgainMs })
  t.after(() => authorization.close())
  const made: Rig = { authorization, asked, ended, warnings, sessions: [] }
  return made
}

/** The answers to one batch. */
async function decide(
  { authorization }: Rig,
  ...questions: readonly ReturnType<typeof asks>[]
): Promise<readonly AdmitAnswer[]> {
  const got: AdmitAnswer[] = []
  const put = questions.map(question => admit(snapshot(), question))
  authorization.complete(put, answers => got.push(...answers))
  await until(() => got.length >= questions.length, 'the answers')
  return got
}

test('the agent admits and denies, each answer of the generation in which it was asked for', async t => {
  const made = rig(t, ({ uri }) => (uri === spiffeId('web') ? allowed : denied))
  const answers = await decide(made, asks(1, spiffeId('web')), asks(2, spiffeId('api')), asks(3))
  const of = (id: number) => answers.find(({ session }) => session === id)
  assert.deepEqual(of(1), {
    session: 1,
    generation: 7,
    admitted: true,
    peer: spiffeId('web'),
    target: { host: '127.0.0.1', port: 2 },
    connectTimeoutMs: 77,
  })
  assert.deepEqual(of(2), {
    session: 2,
    generation: 7,
    admitted: false,
    reason: 'denied',
    peer: spiffeId('api'),
    detail: 'the agent: Matched intention: DENY',
  })
  assert.equal(of(3)?.admitted, false)
  assert.equal(made.asked.length, 2)
})

test('what is decided without the agent does not wait for it', async t => {
  const made = rig(t, () => new Promise(() => {}))
  const got: AdmitAnswer[] = []
  const put = [asks(1, spiffeId('web')), asks(2)].map(question => admit(snapshot(), question))
  made.authorization.complete(put, answers => got.push(...answers))
  assert.deepEqual(
    got.map(({ session }) => session),
    [2],
  )
})

test('without the word of the agent nobody is admitted, and the refusal says why', async t => {
  const gone = rig(t, () => Promise.reject(away))
  const [refused] = await decide(gone, asks(1, spiffeId('web')))
  assert.ok(refused?.admitted === false)
  assert.deepEqual([refused.reason, refused.detail], ['denied', 'the agent did not decide: nobody there'])
})

test('a question that is not answered in time is taken back', async t => {
  const signals: AbortSignal[] = []
  const silent = rig(
    t,
    (_, signal) => {
      signals.push(signal)
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    },
    { answerMs: 20 },
  )
  const [refused] = await decide(silent, asks(1, spiffeId('web')))
  assert.ok(refused?.admitted === false)
  assert.deepEqual(
    [refused.reason, refused.detail],
    ['denied', 'the agent did not decide: no answer within 20 ms'],
  )
  assert.equal(signals[0]?.aborted, true)
})

test('changed intentions have the agent asked once about each peer, and end the sessions of those that it denies', async t => {
  const made = rig(t, ({ uri }) => (uri === spiffeId('web') ? denied : allowed))
  made.authorization.noteState(snapshot({ intentions: news('allow') }))
  made.sessions = [live(1, spiffeId('web')), live(2, spiffeId('web')), live(3, spiffeId('api')), live(4)]
  made.authorization.noteState(snapshot({ generation: 8, intentions: news('allow') }))
  assert.deepEqual(made.asked, [], 'endpoints or certificates may have changed, the intentions have not')
  made.authorization.noteState(snapshot({ generation: 9, intentions: news('deny') }))
  await until(() => made.ended.length === 2, 'the end of both')
  await until(() => made.asked.length === 2, 'both questions')
  assert.deepEqual(made.ended, [1, 2])
  assert.deepEqual(made.asked.map(({ uri }) => uri).toSorted(), [spiffeId('api'), spiffeId('web')])
})

test('where denied sessions are not to be ended the agent is not asked about them', async t => {
  const made = rig(t, () => denied)
  made.sessions = [live(1, spiffeId('web'))]
  made.authorization.noteState(snapshot({ intentions: news('allow'), endDeniedSessions: false }))
  made.authorization.noteState(snapshot({ intentions: news('deny'), endDeniedSessions: false }))
  assert.deepEqual(made.asked, [])
  made.authorization.noteState(snapshot({ intentions: news('deny') }))
  await until(() => made.ended.length === 1, 'the end, once they are')
})

test('an agent whose cache learns of the change later than we do is asked again', async t => {
  const made = rig(t, () => (made.asked.length < 3 ? allowed : denied), { lookAgainMs: [1, 1] })
  made.sessions = [live(1, spiffeId('web'))]
  made.authorization.noteState(snapshot({ intentions: news('deny') }))
  await until(() => made.ended.length === 1, 'the end')
  assert.equal(made.asked.length, 3)
})

test('an agent that does not answer ends no session; it is asked until it does, and one line says so', async t => {
  const made = rig(t, () => {
    if (made.asked.length < 3) throw away
    return denied
  })
  made.sessions = [live(1, spiffeId('web'))]
  made.authorization.noteState(snapshot({ intentions: news('deny') }))
  await until(() => made.asked.length === 2, 'the second question')
  assert.deepEqual(made.ended, [])
  await until(() => made.ended.length === 1, 'the end, by its word')
  assert.equal(made.warnings.length, 1)
})

test('an answer from before another change ends nothing, and its question is taken back', async t => {
  const answers: ((verdict: AgentVerdict) => void)[] = []
  const signals: AbortSignal[] = []
  const made = rig(t, (_, signal) => {
    signals.push(signal)
    return new Promise<AgentVerdict>(resolve => answers.push(resolve))
  })
  made.sessions = [live(1, spiffeId('web'))]
  made.authorization.noteState(snapshot({ intentions: news('deny') }))
  made.authorization.noteState(snapshot({ intentions: news('allow') }))
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true, false],
  )
  answers[0]?.(denied)
  answers[1]?.(allowed)
  await new Promise(resolve => setImmediate(resolve))
  assert.deepEqual(made.ended, [])
})

test('many peers are asked about two at a time', async t => {
  let [open, most] = [0, 0]
  const made = rig(t, async () => {
    most = Math.max(most, ++open)
    await new Promise(resolve => setImmediate(resolve))
    open--
    return denied
  })
  made.sessions = Array.from({ length: 50 }, (_, id) => live(id, spiffeId(`web${id}`)))
  made.authorization.noteState(snapshot({ intentions: news('deny') }))
  await until(() => made.ended.length === 50, 'the end of all')
  assert.equal(most, 2)
})
