import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import { parseWait } from '../../src/cli/wait.ts'
import { type FindProxyOptions, findProxy } from '../../src/consul/find-proxy.ts'
import { writtenAgent } from '../support/written-agent.ts'

type Service = { readonly ID: string; readonly Kind?: string; readonly Proxy?: object }

const sidecar = (id: string, of: string): Service => ({
  ID: id,
  Kind: 'connect-proxy',
  Proxy: { DestinationServiceID: of },
})

/** Looks for a proxy among services that may change with each question. */
async function find(
  t: TestContext,
  services: (asked: number) => readonly Service[] | { readonly status: number },
  options: Pick<FindProxyOptions, 'wanted'> & Partial<FindProxyOptions>,
) {
  let asked = 0
  const client = await writtenAgent(t, () => {
    const said = services(++asked)
    if (!Array.isArray(said))
      return { status: (said as { status: number }).status, body: 'Permission denied' }
    return { body: Object.fromEntries(said.map(service => [service.ID, service])) }
  })
  const waited: object[] = []
  const onWaiting = (seen: object) => waited.push(seen)
  const stop = new AbortController()
  t.after(() => stop.abort())
  const found = findProxy({ client, waitMs: 0, onWaiting, signal: stop.signal, ...options })
  return { found, waited, asked: () => asked, stop }
}

for (const [wanted, registered] of [
  [{ sidecarFor: 'WEB1' }, sidecar('web1-sidecar-proxy', 'web1')],
  [{ sidecarFor: 'web1' }, sidecar('Web1-sidecar-proxy', 'Web1')],
  [{ proxyId: 'Web-Proxy' }, sidecar('web-proxy', '')],
] as const) {
  test(`${JSON.stringify(wanted)} is found as ${registered.ID}, whatever the case of its letters`, async t => {
    const { found, waited } = await find(t, () => [{ ID: 'web1' }, registered], { wanted })
    assert.equal(await found, registered.ID)
    assert.deepEqual(waited, [])
  })
}

test('of proxies whose IDs differ in case the one that is named to the letter is taken, and of none such the choice is asked for', async t => {
  const both = [sidecar('p', ''), sidecar('P', '')]
  assert.equal(await (await find(t, () => both, { wanted: { proxyId: 'P' } })).found, 'P')
  const two = [sidecar('a', 'web1'), sidecar('b', 'WEB1')]
  const { found } = await find(t, () => two, { wanted: { sidecarFor: 'web1' }, waitMs: 60_000 })
  await assert.rejects(found, { code: 'ambiguous', message: /choose one with --proxy-id: a, b$/ })
})

test('an ordinary service is no proxy, whatever its ID', async t => {
  const { found } = await find(t, () => [{ ID: 'web-proxy' }], { wanted: { proxyId: 'web-proxy' } })
  await assert.rejects(found, {
    code: 'not_registered',
    message: /this token can see 1 services, and may not see it$/,
  })
})

test('while it waits it says at once, and each time a while has gone, how many services the token can see', async t => {
  const seen = (asked: number) => (asked < 3 ? [{ ID: 'a' }, { ID: 'b' }] : [sidecar('late-proxy', 'late')])
  const wanted = { sidecarFor: 'late' }
  const eager = await find(t, seen, { wanted, waitMs: 60_000, tellEveryMs: 0 })
  assert.equal(await eager.found, 'late-proxy')
  assert.deepEqual(eager.waited, [{ services: 2 }, { services: 2 }])
  const patient = await find(t, seen, { wanted, waitMs: Number.POSITIVE_INFINITY })
  assert.equal(await patient.found, 'late-proxy')
  assert.deepEqual(patient.waited, [{ services: 2 }])
})

test('it gives up when its time is over, saying what stood in the way last', async t => {
  const wanted = { sidecarFor: 'nobody' }
  const none = await find(t, () => [], { wanted, waitMs: 300 })
  await assert.rejects(none.found, { code: 'not_registered', message: /can see 0 services/ })
  assert.deepEqual(none.waited, [{ services: 0 }])
  assert.ok(none.asked() > 1)
  const refused = await find(t, () => ({ status: 403 }), { wanted, waitMs: 300 })
  await assert.rejects(refused.found, { code: 'not_registered', message: /403 Permission denied$/ })
})

test('0 does not wait: one question, and nothing is said of waiting', async t => {
  const { found, waited, asked } = await find(t, () => [], { wanted: { proxyId: 'p' }, waitMs: 0 })
  await assert.rejects(found, { code: 'not_registered' })
  assert.deepEqual([waited, asked()], [[], 1])
})

test('a stop ends the wait', async t => {
  const forever = await find(t, () => [], { wanted: { proxyId: 'p' }, waitMs: Number.POSITIVE_INFINITY })
  forever.stop.abort()
  await assert.rejects(forever.found)
})

for (const [text, ms] of [
  ['60s', 60_000],
  ['1m30s', 90_000],
  ['500ms', 500],
  ['1.5h', 5_400_000],
  ['0', 0],
  ['0s', 0],
  ['forever', Number.POSITIVE_INFINITY],
] as const) {
  test(`--wait ${text} is ${ms} ms`, () => {
    assert.equal(parseWait(text), ms)
  })
}

test('--wait takes no other word, and no number without its unit', () => {
  for (const text of ['', '60', '-1s', 'never', '1d', '1s ', '60 s'])
    assert.throws(
      () => parseWait(text),
      { code: 'usage', message: /^--wait: got .*, expected a time as 60s/ },
      text,
    )
})
