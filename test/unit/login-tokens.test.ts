import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { AgentRefusal, type ConsulAgentCalls, type LoginToken } from '../../src/managed/consul-agent.ts'
import { LoginTokens } from '../../src/managed/login-tokens.ts'

const hour = 3_600_000
const nobody: ReadonlySet<string> = new Set()

/** An agent that knows the tokens of its logins, on a clock of the test's. */
function open(t: TestContext) {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  const dataDir = mkdtempSync(join(tmpdir(), 'sidesplice-login-'))
  t.after(() => rmSync(dataDir, { recursive: true, force: true }))
  const bearerTokenFile = join(dataDir, 'bearer')
  writeFileSync(bearerTokenFile, 'bearer')
  const known = new Map<string, LoginToken>()
  const agent = { refuses: false, logins: 0, warnings: 0, known }
  const callsOf = (secret: string | undefined) =>
    ({
      async login() {
        if (agent.refuses) throw new AgentRefusal(500, 'no')
        const made = `secret-${++agent.logins}`
        const fromAt = Date.now()
        const token = { accessor: made, secret: made, lifetime: { fromAt, untilAt: fromAt + hour } }
        known.set(made, token)
        return token
      },
      async self() {
        const token = known.get(secret ?? '')
        if (agent.refuses) throw new AgentRefusal(500, 'no')
        if (token === undefined) throw new AgentRefusal(403, 'ACL not found')
        return token
      },
      async logout() {
        if (agent.refuses) throw new AgentRefusal(500, 'no')
        if (!known.delete(secret ?? '')) throw new AgentRefusal(403, 'ACL not found')
      },
    }) as unknown as ConsulAgentCalls
  const log = { debug() {}, info() {}, warn: () => void agent.warnings++, error() {} }
  const supervisor = () => new LoginTokens({ dataDir, log, as: (secret, call) => call(callsOf(secret)) })
  const login = { authMethod: 'machines', bearerTokenFile }
  return { t, agent, supervisor, login, wanted: new Map([['db', login]]), live: new Set(['db']) }
}

test("a login's token is in a file that nobody else can read, and stays until two thirds of its life", async t => {
  const { agent, supervisor, login, wanted, live } = open(t)
  const tokens = supervisor()
  await tokens.ensure('db', login)
  const file = tokens.pathOf('db')
  assert.equal(readFileSync(file, 'utf8'), 'secret-1\n')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  t.mock.timers.tick(hour / 2)
  await tokens.tend(wanted, live)
  assert.equal(agent.logins, 1)
  t.mock.timers.tick(hour / 5)
  await tokens.tend(wanted, live)
  assert.equal(readFileSync(file, 'utf8'), 'secret-2\n')
  // A question may be on its way with the last one.
  assert.deepEqual([...agent.known.keys()], ['secret-1', 'secret-2'])
  t.mock.timers.tick(6_000)
  await tokens.tend(wanted, live)
  assert.deepEqual([...agent.known.keys()], ['secret-2'])
})

test('where a login fails the token stays as it is, the failure is said once, and it is tried again', async t => {
  const { agent, supervisor, login, wanted, live } = open(t)
  const tokens = supervisor()
  await tokens.ensure('db', login)
  agent.refuses = true
  for (const ms of [hour * 0.7, 6_000, 6_000]) {
    t.mock.timers.tick(ms)
    await tokens.tend(wanted, live)
  }
  assert.deepEqual([readFileSync(tokens.pathOf('db'), 'utf8'), agent.warnings], ['secret-1\n', 1])
  agent.refuses = false
  t.mock.timers.tick(6_000)
  await tokens.tend(wanted, live)
  assert.equal(readFileSync(tokens.pathOf('db'), 'utf8'), 'secret-2\n')
})

test('an agent that does not answer is no reason to think that a token is gone; one that does not know it is', async t => {
  const { agent, supervisor, login, wanted, live } = open(t)
  const tokens = supervisor()
  await tokens.ensure('db', login)
  agent.refuses = true
  t.mock.timers.tick(11_000)
  await tokens.tend(wanted, live)
  agent.refuses = false
  t.mock.timers.tick(11_000)
  await tokens.tend(wanted, live)
  assert.equal(agent.logins, 1)
  agent.known.clear()
  t.mock.timers.tick(11_000)
  await tokens.tend(wanted, live)
  assert.equal(readFileSync(tokens.pathOf('db'), 'utf8'), 'secret-2\n')
})

test('the next supervisor takes a token over, and gives back those of proxies that are gone, once the agent hears it', async t => {
  const { agent, supervisor, login, wanted, live } = open(t)
  const before = supervisor()
  await before.ensure('db', login)
  await before.ensure('web', login)
  const next = supervisor()
  agent.refuses = true
  await next.tend(new Map(), new Set(['db']))
  assert.equal(agent.known.size, 2)
  agent.refuses = false
  await next.tend(wanted, live)
  assert.deepEqual([...agent.known.keys(), agent.logins], ['secret-1', 2])
  t.mock.timers.tick(hour * 0.7)
  await next.tend(wanted, live)
  assert.equal(readFileSync(next.pathOf('db'), 'utf8'), 'secret-3\n')
  await next.tend(new Map(), nobody)
  assert.deepEqual([...agent.known.keys()], ['secret-1'], 'the replaced one has its time still')
})

test('two who ask at once get one login', async t => {
  const { agent, supervisor, login } = open(t)
  const tokens = supervisor()
  await Promise.all([tokens.ensure('db', login), tokens.ensure('db', login)])
  assert.equal(agent.logins, 1)
})
