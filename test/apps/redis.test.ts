// redis-server behind two sidecars, reached by redis-benchmark and redis-cli as they are.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import type { Address } from '../../src/address.ts'
import {
  appPatienceMs,
  assertClean,
  bytesOf,
  type Chain,
  runClient,
  startChain,
  startProgram,
  succeed,
} from '../support/apps.ts'
import { freePort } from '../support/free-ports.ts'
import { spiffeId } from '../support/pki.ts'
import { eventually } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'

const largeBytes = 20 * 1024 * 1024

test('redis-benchmark runs through two sidecars without an error, every command arrives once', async t => {
  const { redis, chain } = await start(t)
  const runs = [
    { requests: 20_000, args: ['-c', '50'] },
    { requests: 100_000, args: ['-c', '50', '-P', '16'] },
    // A connection for each request.
    { requests: 500, args: ['-c', '20', '-k', '0'] },
  ]
  for (const { requests, args } of runs) {
    await cli(redis, ['CONFIG', 'RESETSTAT'])
    const output = await succeed([
      'redis-benchmark',
      ...at(chain.upstream),
      '-n',
      String(requests),
      '-t',
      'get,set',
      '--csv',
      ...args,
    ])
    t.diagnostic(`${args.join(' ')}: ${perSecond(output)}`)
    assert.doesNotMatch(output, /error/i)
    const stats = await cli(redis, ['INFO', 'commandstats'])
    for (const command of ['get', 'set']) {
      const [, calls, failed] =
        new RegExp(`cmdstat_${command}:calls=(\\d+),.*failed_calls=(\\d+)`).exec(stats) ?? []
      assert.deepEqual({ calls, failed }, { calls: String(requests), failed: '0' }, stats)
    }
  }
  const { web, db } = await chain.end()
  assertClean([...web, ...db])
  assert.ok(web.length >= 1_000, `${web.length} sessions`)
  assert.deepEqual(bytesOf(web), bytesOf(db))
})

test('what is written through the sidecars is read directly, and the other way round', async t => {
  const { redis, chain } = await start(t)
  const keys = Array.from({ length: 5_000 }, (_, at) => `key:${at}`)
  const lines = (make: (key: string) => string) => `${keys.map(make).join('\n')}\n`
  for (const [write, read] of [
    [chain.upstream, redis],
    [redis, chain.upstream],
  ] as const) {
    const value = (key: string) => createHash('sha1').update(`${key} ${write.port}`).digest('hex')
    assert.equal(
      await cli(
        write,
        [],
        lines(key => `SET ${key} ${value(key)}`),
      ),
      lines(() => 'OK'),
    )
    assert.equal(
      await cli(
        read,
        [],
        lines(key => `GET ${key}`),
      ),
      lines(value),
    )
  }

  for (const [write, read] of [
    [chain.upstream, redis],
    [redis, chain.upstream],
  ] as const) {
    const large = randomBytes(largeBytes)
    assert.equal(await cli(write, ['-x', 'SET', 'large'], large), 'OK\n')
    const { code, stdout } = await runClient(['redis-cli', ...at(read), '--raw', 'GET', 'large'])
    assert.equal(code, 0)
    // redis-cli puts a line feed behind it.
    assert.equal(stdout.length, largeBytes + 1)
    assert.equal(digest(stdout.subarray(0, largeBytes)), digest(large))
  }
  const { web, db } = await chain.end()
  assertClean([...web, ...db])
  const { up, down } = bytesOf(web)
  assert.ok(up > largeBytes && down > largeBytes, `${up} up, ${down} down`)
})

test('what the server sends by itself arrives: published messages, and the answer to a blocking command', async t => {
  const { redis, chain } = await start(t)
  const subscriber = await startProgram(t, ['redis-cli', ...at(chain.upstream), 'SUBSCRIBE', 'news'])
  await until(() => subscriber.output.includes('subscribe\nnews\n1\n'), 'the subscription', appPatienceMs)
  const messages = Array.from({ length: 100 }, (_, at) => `message ${at} end`)
  for (const message of messages) assert.equal(await cli(redis, ['PUBLISH', 'news', message]), '1\n')
  const expected = messages.map(message => `message\nnews\n${message}\n`).join('')
  await until(() => subscriber.output.endsWith(expected), 'all messages, in order', appPatienceMs)
  await subscriber.stop()

  const popped = cli(chain.upstream, ['BLPOP', 'queue', '30'])
  await eventually(
    async () => (await cli(redis, ['INFO', 'clients'])).includes('blocked_clients:1'),
    'a blocked client',
  )
  await cli(redis, ['RPUSH', 'queue', 'for you'])
  assert.equal(await popped, 'queue\nfor you\n')
  const { web, db } = await chain.end()
  assertClean([...web, ...db])
})

test('a client whose sidecar is not allowed gets no answer, and redis-server no connection', async t => {
  const { redis, chain } = await start(t, { allow: [spiffeId('other')] })
  const connections = async () =>
    /total_connections_received:(\d+)/.exec(await cli(redis, ['INFO', 'stats']))?.[1]
  const before = Number(await connections())
  const { code, stdout } = await runClient(['redis-cli', ...at(chain.upstream), 'PING'])
  assert.notEqual(code, 0)
  assert.doesNotMatch(stdout.toString(), /PONG/)
  // The one more is that of the question itself.
  assert.equal(Number(await connections()), before + 1)
  const { web, db } = await chain.end()
  assert.deepEqual([...new Set(db.map(({ reason }) => reason))], ['denied'])
  assert.ok(
    web.every(({ reason }) => reason !== 'closed'),
    JSON.stringify(web),
  )
})

async function start(
  t: TestContext,
  options: { readonly allow?: readonly string[] } = {},
): Promise<{ redis: Address; chain: Chain }> {
  const redis = await freePort()
  const args = ['--bind', redis.host, '--port', String(redis.port), '--save', '', '--appendonly', 'no']
  await startProgram(t, ['redis-server', ...args], { listensOn: redis })
  return { redis, chain: await startChain(t, redis, options) }
}

function at({ host, port }: Address): readonly [string, ...string[]] {
  return ['-h', host, '-p', String(port)]
}

/** redis-cli's raw output: a line for each answer. */
function cli(address: Address, args: readonly string[], input: string | Buffer = ''): Promise<string> {
  return succeed(['redis-cli', ...at(address), '--raw', ...args], { input })
}

function digest(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}

function perSecond(csv: string): string {
  return [...csv.matchAll(/^"(SET|GET)","([\d.]+)"/gm)]
    .map(([, name, rate]) => `${name} ${Math.round(Number(rate))}/s`)
    .join(', ')
}
