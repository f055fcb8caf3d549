// One of two endpoints goes away under a load of short connections and comes back: what fails, and what must not.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import {
  type AccessRecord,
  accessRecords,
  appPatienceMs,
  type Program,
  startDb,
  startProgram,
} from '../support/apps.ts'
import { packageRoot } from '../support/command.ts'
import { type Exchange, ExchangeLoad } from '../support/exchanges.ts'
import { freePort } from '../support/free-ports.ts'
import { type RunningSidecar, startSidecar, upstreamTo } from '../support/running-sidecar.ts'
import { settled, until } from '../support/until.ts'

const workers = 20
// Exchanges before one endpoint goes, while it is away, and after it is used again.
const before = 100
const meanwhile = 250
const after = 300
// Beyond the time that an endpoint is passed over: for dialing on a busy machine.
const marginMs = 5_000

for (const greeting of [undefined, 'hello from db']) {
  test(`one of two endpoints goes away, ${greeting === undefined ? 'clients' : 'servers'} speak first`, async t => {
    const world = await start(t, greeting)

    await t.test('while both are there no exchange fails, and both serve', async t => {
      const load = world.load(t)
      await exchanges(load, after)
      await load.stop()
      assert.deepEqual(await world.failures(load), [])
      assertSpread(load, 0)
    })

    await t.test('its sidecar is killed: nothing fails but what had a byte relayed through it', async t => {
      await goesAndComesBack(t, world, {
        go: endpoint => endpoint.sidecar.command.stop('SIGKILL'),
        comeBack: endpoint => endpoint.startSidecar(),
      })
    })

    await t.test('its sidecar is stopped and drains: nothing fails', async t => {
      const failures = await goesAndComesBack(t, world, {
        go: endpoint => endpoint.sidecar.command.stop('SIGTERM'),
        comeBack: endpoint => endpoint.startSidecar(),
      })
      assert.deepEqual(failures, [])
    })

    await t.test('its app is killed: nothing fails but what had a byte relayed to or from it', async t => {
      await goesAndComesBack(t, world, {
        appDies: true,
        go: endpoint => endpoint.app.stop('SIGKILL'),
        comeBack: endpoint => endpoint.startApp(),
      })
    })
  })
}

interface Endpoint {
  readonly name: string
  readonly address: Address
  app: Program
  sidecar: RunningSidecar
  startApp(): Promise<void>
  startSidecar(): Promise<void>
}

interface Failure extends Exchange {
  /** What web's access log says of it; absent where it says nothing. */
  readonly record?: AccessRecord
}

interface World {
  readonly endpoints: readonly [Endpoint, Endpoint]
  load(t: TestContext): ExchangeLoad
  failures(load: ExchangeLoad): Promise<readonly Failure[]>
  /** Sessions of web that ended cleanly without a byte: counted, and left out of the access log. */
  emptySessions(): Promise<number>
}

interface Steps {
  readonly go: (endpoint: Endpoint) => Promise<unknown>
  readonly comeBack: (endpoint: Endpoint) => Promise<void>
  readonly appDies?: true
}

/** Asserts what is allowed to fail, that the endpoint is used again, and that the two share the load then. */
async function goesAndComesBack(t: TestContext, world: World, steps: Steps): Promise<readonly Failure[]> {
  const [, endpoint] = world.endpoints
  const emptyBefore = await world.emptySessions()
  const load = world.load(t)
  await exchanges(load, before)
  const goneAt = performance.now()
  await steps.go(endpoint)
  await exchanges(load, meanwhile)
  await steps.comeBack(endpoint)
  const awayMs = performance.now() - goneAt
  const back = load.done.length
  // It is passed over for no longer than it had failed.
  const inUse = () => load.answersOf(endpoint.name, back) > 0
  await until(inUse, `${endpoint.name} to be used again`, awayMs + marginMs)
  const passedOverMs = performance.now() - goneAt - awayMs
  const used = load.done.length
  await exchanges(load, after)
  await load.stop()
  assertSpread(load, used)

  const failures = await world.failures(load)
  t.diagnostic(`${load.done.length} exchanges, ${failures.length} failed`)
  t.diagnostic(`away for ${Math.round(awayMs)} ms, used again ${Math.round(passedOverMs)} ms after that`)
  const unexcused = failures.filter(({ record }) => !relayedThrough(endpoint, record))
  // An app that dies between its accept and its first word closes the connection like one that means it; nobody can tell.
  const bearable = steps.appDies === true ? (await world.emptySessions()) - emptyBefore : 0
  const silent = unexcused.filter(({ record }) => record === undefined).slice(0, bearable)
  assert.deepEqual(
    unexcused.filter(failure => !silent.includes(failure)),
    [],
  )
  return failures
}

function relayedThrough({ address }: Endpoint, record: AccessRecord | undefined): boolean {
  if (record?.endpoint !== formatAddress(address)) return false
  return record.bytes_to_upstream > 0 || record.bytes_to_downstream > 0
}

async function exchanges(load: ExchangeLoad, count: number): Promise<void> {
  const goal = load.done.length + count
  await until(() => load.done.length >= goal, `${count} exchanges`, appPatienceMs)
}

function assertSpread(load: ExchangeLoad, from: number): void {
  const answered = load.done.length - from
  for (const name of ['db1', 'db2']) {
    const share = load.answersOf(name, from) / answered
    assert.ok(share > 0.2, `${name} answered ${Math.round(share * 100)} % of ${answered}`)
  }
}

async function start(t: TestContext, greeting: string | undefined): Promise<World> {
  const upstream = await freePort()
  const [first, second] = await Promise.all([
    startEndpoint(t, 'db1', greeting),
    startEndpoint(t, 'db2', greeting),
  ])
  const entry = {
    ...upstreamTo(first.address, upstream),
    endpoints: [formatAddress(first.address), formatAddress(second.address)],
  }
  const web = await startSidecar(t, { log_json: true, upstreams: [entry] })
  return {
    endpoints: [first, second],
    load(t) {
      const load = new ExchangeLoad({ address: upstream, greeting, workers })
      t.after(() => load.stop())
      return load
    },
    async failures(load) {
      await web.eventually(async () => (await web.metric('sidesplice_sessions_open')) === 0, 'all to end')
      await settled(() => web.command.stdout.length, 'the access log')
      const records = accessRecords(web)
      return load.done
        .filter(({ failure }) => failure !== undefined)
        .map(exchange => {
          const record = records.find(record => isOf(exchange, record))
          return record === undefined ? exchange : { ...exchange, record }
        })
    },
    emptySessions: () =>
      web.metric('sidesplice_sessions_ended_total', { reason: 'closed_before_first_byte' }),
  }
}

/** Ports are used again and again, not by two at a time. */
function isOf({ downstream, startedAt, endedAt }: Exchange, record: AccessRecord): boolean {
  if (record.downstream !== downstream) return false
  const recordEndedAt = Date.parse(record.time)
  return recordEndedAt >= startedAt && recordEndedAt - record.duration_ms <= endedAt
}

/** A sidecar and its app; what is started again lives as long as the test that started them first. */
async function startEndpoint(t: TestContext, name: string, greeting: string | undefined): Promise<Endpoint> {
  const address = await freePort()
  const appAddress = await freePort()
  const script = join(packageRoot, 'test', 'support', 'exchange-app.ts')
  const args = [script, String(appAddress.port), name, ...(greeting === undefined ? [] : [greeting])]
  const runApp = () =>
    startProgram(t, [process.execPath, '--disable-warning=ExperimentalWarning', ...args], {
      listensOn: appAddress,
    })
  const runSidecar = () => startDb(t, { listen: address, app: appAddress })
  const [app, sidecar] = await Promise.all([runApp(), runSidecar()])
  const endpoint: Endpoint = {
    name,
    address,
    app,
    sidecar,
    async startApp() {
      endpoint.app = await runApp()
    },
    async startSidecar() {
      endpoint.sidecar = await runSidecar()
    },
  }
  return endpoint
}
