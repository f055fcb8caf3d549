// PostgreSQL behind two sidecars, reached by pgbench and psql as they are.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chown, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { Address } from '../../src/address.ts'
import { postgresFolder } from '../suites.ts'
import {
  assertClean,
  bytesOf,
  type Chain,
  groupOf,
  runClient,
  startChain,
  startProgram,
  succeed,
} from '../support/apps.ts'
import { freePort } from '../support/free-ports.ts'
import { spiffeId } from '../support/pki.ts'
import { eventually, Folder } from '../support/running-sidecar.ts'

// PostgreSQL refuses to run as root; its package brings this user.
const user = 'postgres'
const clients = 8
const transactionsPerClient = 200

test('pgbench loses no transaction through two sidecars, and the books balance', async t => {
  const { postgres, chain } = await start(t)
  await pgbench(chain.upstream, ['-i', '-s', '1', '-q'])
  // A connection a client, then, with -C, one a transaction. -n: a vacuum would begin the history anew.
  for (const [perClient, mode] of [
    [transactionsPerClient, []],
    [transactionsPerClient / 2, ['-C']],
  ] as const) {
    const args = ['-n', '-c', String(clients), '-j', '2', '-t', String(perClient), ...mode]
    const output = await pgbench(chain.upstream, args)
    t.diagnostic(`${args.join(' ')}: ${/tps = [\d.]+/.exec(output)?.[0]}`)
    const all = clients * perClient
    assert.match(output, new RegExp(`number of transactions actually processed: ${all}/${all}\n`))
    assert.match(output, /number of failed transactions: 0 /)
  }
  const [accounts, branches, tellers, history, transactions] = (
    await psql(
      postgres,
      `select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches),
        (select sum(tbalance) from pgbench_tellers), sum(delta), count(*) from pgbench_history`,
    )
  )
    .trim()
    .split('|')
  assert.equal(transactions, String(1.5 * clients * transactionsPerClient))
  assert.deepEqual([accounts, branches, tellers], [history, history, history])

  const { web, db } = await chain.end()
  assertClean([...web, ...db])
  assert.ok(web.length >= (clients * transactionsPerClient) / 2, `${web.length} sessions`)
  assert.deepEqual(bytesOf(web), bytesOf(db))
})

test('a table copied in and out through two sidecars is the table that is read directly', async t => {
  const { postgres, chain } = await start(t)
  const columns = 'n int primary key, a text, b text'
  await psql(postgres, `create table source (${columns}); create table target (${columns})`)
  await psql(
    postgres,
    `insert into source select n, md5(n::text), repeat(md5((n * 7)::text), 3) from generate_series(1, 200000) n`,
  )
  const copyOut = (address: Address, table: string) =>
    succeed(psqlCommand(address, `copy (select * from ${table} order by n) to stdout`))
  const direct = await copyOut(postgres, 'source')
  const through = await copyOut(chain.upstream, 'source')
  assert.ok(direct.length > 20_000_000, `${direct.length} bytes`)
  assert.equal(digest(through), digest(direct))

  await succeed(psqlCommand(chain.upstream, 'copy target from stdin'), { input: through })
  assert.equal(digest(await copyOut(postgres, 'target')), digest(direct))

  const { web, db } = await chain.end()
  assertClean([...web, ...db])
})

test('a query is cancelled through the sidecars, by a connection that the server closes without an answer', async t => {
  const { postgres, chain } = await start(t)
  const running = `select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'`
  const { code, stderr } = await runClient(psqlCommand(chain.upstream, 'select pg_sleep(600)'), {
    started: async psql => {
      await eventually(async () => (await psqlOutput(postgres, running)) === '1\n', 'the query to run')
      psql.kill('SIGINT')
    },
  })
  assert.notEqual(code, 0)
  assert.match(stderr, /canceling statement due to user request/)
  const { web, db } = await chain.end()
  assertClean([...web, ...db])
})

test('a client whose sidecar is not allowed gets no connection', async t => {
  const { chain } = await start(t, { allow: [spiffeId('other')] })
  const { code, stdout, stderr } = await runClient(psqlCommand(chain.upstream, 'select 1'))
  assert.equal(code, 2, stderr)
  assert.equal(stdout.toString(), '')
  const { db } = await chain.end()
  assert.deepEqual([...new Set(db.map(({ reason }) => reason))], ['denied'])
})

async function start(
  t: TestContext,
  options: { readonly allow?: readonly string[] } = {},
): Promise<{ postgres: Address; chain: Chain }> {
  const programs = postgresFolder() ?? ''
  const folder = await Folder.make(t)
  const data = folder.file('data')
  await folder.makeReadableByAll()
  await mkdir(data)
  const isRoot = process.getuid?.() === 0
  if (isRoot) {
    const uid = Number(await succeed(['id', '-u', user]))
    await chown(data, uid, Number(groupOf(user)))
  }
  const initdb = [
    '-D',
    data,
    '-U',
    user,
    '--auth',
    'trust',
    '--encoding',
    'UTF8',
    '--locale',
    'C',
    '--no-sync',
  ]
  await succeed([join(programs, 'initdb'), ...initdb], { user })
  const address = await freePort()
  const settings = {
    listen_addresses: address.host,
    port: address.port,
    unix_socket_directories: '',
    // Nobody needs the data after the test.
    fsync: 'off',
    max_connections: 50,
  }
  const set = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  await startProgram(t, [join(programs, 'postgres'), '-D', data, ...set], {
    user,
    // A fast shutdown: clients are cut, helpers end with it.
    stopSignal: 'SIGINT',
    listensOn: address,
  })
  await eventually(async () => (await runClient(psqlCommand(address, 'select 1'))).code === 0, 'PostgreSQL')
  return { postgres: address, chain: await startChain(t, address, options) }
}

function at({ host, port }: Address): readonly [string, ...string[]] {
  return ['-h', host, '-p', String(port), '-U', user]
}

function psqlCommand(address: Address, sql: string): readonly [string, ...string[]] {
  return ['psql', ...at(address), '-d', 'postgres', '-X', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-c', sql]
}

function psql(address: Address, sql: string): Promise<string> {
  return succeed(psqlCommand(address, sql))
}

/** For a look that may come too early. */
async function psqlOutput(address: Address, sql: string): Promise<string> {
  return (await runClient(psqlCommand(address, sql))).stdout.toString()
}

function pgbench(address: Address, args: readonly string[]): Promise<string> {
  return succeed(['pgbench', ...at(address), ...args, 'postgres'])
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
