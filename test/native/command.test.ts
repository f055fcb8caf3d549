// The command where the addon fits: what is chosen, and how many threads there are.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { describe, test } from 'node:test'
import { check } from '../support/check.ts'
import { run } from '../support/command.ts'
import { connect } from '../support/ends.ts'
import { mesh } from '../support/pki.ts'
import { Folder, startPair, startSidecar } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'
import { worldReadable } from '../support/world-readable.ts'

// proc(5): what the processor and its kernel have.
const cpu = new Set(/^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' '))
const ownAes = cpu.has('vaes') && cpu.has('vpclmulqdq') && !cpu.has('avx512f') ? 'vaes' : 'openssl'

describe('the data plane', { concurrency: 2 }, () => {
  test('is native for auto where the addon fits', async t => {
    const { command } = await startSidecar(t, {})
    assert.match(await command.line('data plane chosen'), /data_plane=native why="the addon fits this Node"$/)
  })

  test('is native where it is asked for', async t => {
    const { command } = await startSidecar(t, { data_plane: 'native' })
    assert.match(await command.line('data plane chosen'), /data_plane=native why="asked for"$/)
  })

  test('native is taken where the file, the flag or SIDESPLICE_DATA_PLANE asks for it', async t => {
    const flag = { args: ['--check', '--data-plane', 'native'] }
    const variable = { env: { SIDESPLICE_DATA_PLANE: 'native' } }
    for (const [file, options] of [
      [{ data_plane: 'native' }, {}],
      [{}, flag],
      [{}, variable],
    ] as const) {
      const { problems, code } = await check(t, file, options)
      assert.deepEqual([problems, code], [[], 0])
    }
  })
})

describe('kernel TLS', { concurrency: 2 }, () => {
  // A kernel that has it is another suite's: this one says what comes of its absence where it is absent.
  const there = readFileSync('/proc/sys/net/ipv4/tcp_available_ulp', 'utf8').includes('tls')
  const relay = there
    ? /relay=(records|ktls-splice) aes=\w+ why=/
    : /relay=records aes=\w+ why="this kernel has no TLS"$/

  test('is not taken for auto where the kernel has none, and a line and /state say so', async t => {
    const sidecar = await startSidecar(t, {})
    assert.match(await sidecar.command.line('relay chosen'), relay)
    const state = JSON.parse((await sidecar.get('/state')).body) as {
      readonly relay: { readonly why: string; readonly aes: string }
    }
    const { aes, ...relayed } = state.relay
    if (!there) assert.deepEqual(relayed, { relay: 'records', why: 'this kernel has no TLS' })
    assert.equal(aes, ownAes)
  })

  test('is not even tried where it is off', async t => {
    const { command } = await startSidecar(t, { ktls: 'off' })
    assert.match(await command.line('relay chosen'), /relay=records aes=\w+ why="asked for"$/)
  })

  test('ends the start with the reason where it is asked for and not there', async t => {
    const { problems, code } = await check(t, { ktls: 'on' })
    assert.equal(code, there ? 0 : 1)
    if (!there) assert.deepEqual(problems, ["kernel TLS can't be used: this kernel has no TLS"])
  })

  test('is not to be had on JavaScript', async t => {
    const { problems, code } = await check(t, { ktls: 'on', data_plane: 'javascript' })
    assert.deepEqual([problems, code], [["kernel TLS can't run: the data plane is javascript"], 1])
  })
})

describe('AES-GCM', { concurrency: 2 }, () => {
  test('is our own for auto where the processor has VAES and not AVX-512', async t => {
    const { command } = await startSidecar(t, {})
    assert.match(await command.line('relay chosen'), new RegExp(` aes=${ownAes} `))
  })

  test("is OpenSSL's where that is asked for, by file or flag, and each reads what the other has written", async t => {
    const args = ['--aes', 'openssl']
    const pair = await startPair(t, { dbOptions: { args } })
    assert.match(await pair.db.command.line('relay chosen'), / aes=openssl /)
    assert.match(await pair.web.command.line('relay chosen'), new RegExp(` aes=${ownAes} `))
    await connect(t, pair.webUpstream).echoes('x'.repeat(50_000))
    const { command } = await startSidecar(t, { aes: 'openssl' })
    assert.match(await command.line('relay chosen'), / aes=openssl /)
  })

  test('is not another', async t => {
    const { problems, code } = await check(t, { aes: 'mine' })
    assert.deepEqual([problems, code], [['sidecar.json: aes: got "mine", expected one of auto, openssl'], 1])
  })
})

test('what only the start needed leaves memory, and all goes on', async t => {
  const pair = await startPair(t)
  const { pid } = pair.web
  const client = connect(t, pair.webUpstream)
  await client.echoes('before')
  const most = residentPages(pid)
  await until(() => residentPages(pid) < 0.8 * most, `less than 80 % of ${most} pages`, 30_000)
  await client.echoes('behind')
  await connect(t, pair.webUpstream).echoes('anew')
  assert.equal((await pair.web.get('/ready')).status, 200)
})

describe('workers', { concurrency: 2 }, () => {
  test('are as many threads as are asked for, by the flag over the file', async t => {
    assert.equal(relayThreads((await startSidecar(t, { workers: '3' })).pid), 3)
    const args = ['--workers', '2']
    assert.equal(relayThreads((await startSidecar(t, { workers: 5 }, { args })).pid), 2)
  })

  test('that there can not be so many of end the start with a reason, not by a crash', async t => {
    const folder = await Folder.make(t)
    await folder.makeReadableByAll()
    await folder.writeIdentity(mesh.web, mesh.root)
    await folder.writeConfig({ upstreams: [], workers: 200 })
    for (const name of ['sidecar.json', 'leaf.pem', 'leaf.key', 'ca.pem'])
      await chmod(folder.file(name), 0o644)
    // Threads count for their user; root has no limit.
    const { bin, node } = worldReadable(t)
    const limited = { bin, node: 'prlimit', nodeArgs: ['--nproc=100:100', node] }
    const args = ['proxy', '--config', folder.file('sidecar.json')]
    const user = { uid: 65_534, gid: 65_534 }
    const command = run(t, args, { ...user, ...limited })
    assert.deepEqual(await command.end(), { code: 2, signal: null }, command.stderr)
    assert.match(command.stderr, /^sidesplice: the native data plane can't start: EAGAIN\n$/)
  })

  test('are as many as the CPUs that the process may use', async t => {
    assert.equal(relayThreads((await startSidecar(t, {})).pid), availableParallelism())
    const onOne = { node: 'taskset', nodeArgs: ['--cpu-list', '0', process.execPath] }
    assert.equal(relayThreads((await startSidecar(t, {}, onOne)).pid), 1)
  })

  function relayThreads(pid: number): number {
    const threads = readdirSync(`/proc/${pid}/task`)
    const names = threads.map(thread => readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').trim())
    return names.filter(name => name === 'relay').length
  }
})

/** proc_pid_statm(5). */
function residentPages(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1])
}
