// A flag is over the file, the file over the default; what there is not is refused with what there is.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import { formatAddress } from '../../src/address.ts'
import { type CheckOptions, check } from '../support/check.ts'
import { packageRoot, run } from '../support/command.ts'
import { freePort } from '../support/free-ports.ts'
import { ask, type SidecarFile, startSidecar } from '../support/running-sidecar.ts'
import { ownPlane } from '../support/sidecar-planes.ts'

// node-gyp-build looks there first.
const withoutAddon = { ...ownPlane, SIDESPLICE_PREBUILD: folderWithoutAddon() }
after(() => rmSync(withoutAddon.SIDESPLICE_PREBUILD, { recursive: true, force: true }))

test('a flag is over the file', async t => {
  const fromFlag = await freePort()
  const fromFile = await freePort()
  const sidecar = await startSidecar(
    t,
    { admin: formatAddress(fromFile), log_json: false, drain: 7 },
    { args: ['--admin', formatAddress(fromFlag), '--log-json', '--drain', '3.5'] },
  )
  assert.equal((await ask(fromFlag, '/live')).status, 200)
  await assert.rejects(ask(fromFile, '/live'), { code: 'ECONNREFUSED' })
  const { code } = await sidecar.command.stop()
  assert.equal(code, 0)
  assert.equal(JSON.parse(await sidecar.command.line('"stopping"')).drain_s, 3.5)
})

test('the file is over the default, and the default stands where neither says anything', async t => {
  const sidecar = await startSidecar(t, { drain: '7' })
  await sidecar.command.stop()
  assert.match(await sidecar.command.line(' stopping '), / drain_delay_s=0 drain_s=7$/)
})

describe('the data plane', { concurrency: 3 }, () => {
  test('is JavaScript for auto where it does not, and says why', async t => {
    const { command } = await startSidecar(t, {}, { env: withoutAddon })
    assert.match(
      await command.line('data plane chosen'),
      /data_plane=javascript why="it can not be loaded: .*file too short"$/,
    )
  })

  test('is JavaScript where it is asked for', async t => {
    const { command } = await startSidecar(t, { data_plane: 'javascript' }, { env: ownPlane })
    assert.match(await command.line('data plane chosen'), /data_plane=javascript why="asked for"$/)
  })

  const places: readonly (readonly [string, SidecarFile, CheckOptions])[] = [
    ['the file', { data_plane: 'native' }, {}],
    ['the flag', {}, { args: ['--check', '--data-plane', 'native'] }],
    ['SIDESPLICE_DATA_PLANE', {}, { env: { SIDESPLICE_DATA_PLANE: 'native' } }],
  ]
  for (const [place, file, options] of places) {
    test(`native, asked for by ${place}, is refused where there is no addon that fits`, async t => {
      const refused = await check(t, file, { ...options, env: { ...withoutAddon, ...options.env } })
      assert.match(
        refused.problems.join('\n'),
        /^data plane native can't run: it can not be loaded: .*file too short$/,
      )
      assert.deepEqual([refused.stdout, refused.code], ['', 1])
    })
  }

  test('by SIDESPLICE_DATA_PLANE is over the file, by the flag over both', async t => {
    const env = { ...withoutAddon, SIDESPLICE_DATA_PLANE: 'native' }
    const args = ['--check', '--data-plane', 'javascript']
    assert.equal((await check(t, { data_plane: 'javascript' }, { env })).code, 1)
    assert.equal((await check(t, { data_plane: 'native' }, { env, args })).code, 0)
  })

  test('by a variable that makes no sense is refused by its name', async t => {
    const checked = await check(t, {}, { env: { SIDESPLICE_DATA_PLANE: 'fast' } })
    assert.deepEqual(checked.problems, [
      'SIDESPLICE_DATA_PLANE: got "fast", expected one of auto, native, javascript',
    ])
  })
})

describe('workers', { concurrency: 3 }, () => {
  test('of no sensible number are refused', async t => {
    const refusals: readonly (readonly [unknown, string])[] = [
      [0, 'got 0, expected at least 1'],
      ['1000', 'got 1000, expected at most 256'],
      [1.5, 'got 1.5, expected a whole number, or a string that holds one'],
      ['many', 'got "many", expected a whole number, or a string that holds one'],
    ]
    for (const [workers, problem] of refusals)
      assert.deepEqual((await check(t, { workers })).problems, [`sidecar.json: workers: ${problem}`])
    const flag = await check(t, {}, { args: ['--check', '--workers', 'all'] })
    assert.deepEqual(flag.problems, [
      '--workers: got "all", expected a whole number, or a string that holds one',
    ])
  })
})

describe('key exchange and buffer memory', { concurrency: 3 }, () => {
  test('are taken from flags', async t => {
    const args = ['--key-exchange', 'x25519', '--buffer-memory', '64MiB']
    const sidecar = await startSidecar(t, {}, { args })
    assert.equal(await sidecar.metric('sidesplice_buffer_bytes'), 0)
    assert.equal((await check(t, { key_exchange: 'x25519', buffer_memory: 4 * 1024 * 1024 })).code, 0)
  })

  test('that make no sense are refused', async t => {
    const size = 'at least 4194304 bytes, as a number or one with KiB, MiB or GiB behind it'
    const args = ['--check', '--key-exchange', 'rsa', '--buffer-memory', '64MB']
    assert.deepEqual([...(await check(t, {}, { args })).problems].sort(), [
      `--buffer-memory: got "64MB", expected ${size}`,
      '--key-exchange: got "rsa", expected one of x25519, x25519mlkem768',
    ])
    const small = await check(t, { buffer_memory: '4095KiB' })
    assert.deepEqual(small.problems, [`sidecar.json: buffer_memory: got "4095KiB", expected ${size}`])
    const smaller = await check(t, { buffer_memory: 1 })
    assert.deepEqual(smaller.problems, ['sidecar.json: buffer_memory: got 1, expected at least 4194304'])
  })
})

describe('usage', { concurrency: 3 }, () => {
  const refusals: readonly (readonly [string, readonly string[], RegExp])[] = [
    [
      'an unknown option',
      ['proxy', '--confg', 'x'],
      /^error: unknown option '--confg'\n\(Did you mean --config\?\)\n/,
    ],
    ['an unknown command', ['prox'], /^error: unknown command 'prox'\n\(Did you mean proxy\?\)\n/],
    [
      'nothing to be configured by',
      ['proxy'],
      /^error: one of --config <file>, --proxy-id <id>, --sidecar-for <id> and --service <name> is needed\n/,
    ],
    [
      'a flag without its value',
      ['proxy', '--config'],
      /^error: option '--config <file>' argument missing\n/,
    ],
    ['an argument too many', ['proxy', '--config', 'x', 'y'], /^error: too many arguments for 'proxy'/],
    ['a short option', ['proxy', '-c', 'x'], /^error: unknown option '-c'/],
  ]
  for (const [title, args, expected] of refusals) {
    test(`${title} is refused, and --help is named`, async t => {
      const command = run(t, args)
      assert.deepEqual(await command.end(), { code: 1, signal: null })
      assert.match(command.stderr, expected)
      assert.match(command.stderr, /\(sidesplice .*--help tells more\)\n$/)
      assert.equal(command.stdout, '')
    })
  }

  test("a flag's bad value is refused by the flag's name", async t => {
    const args = ['--check', '--drain', 'long', '--admin', '0.0.0.0:9000', '--log-level', 'loud']
    const checked = await check(t, {}, { args })
    assert.deepEqual([...checked.problems].sort(), [
      '--admin: got "0.0.0.0", expected a loopback address, or unsafe_admin (--unsafe-admin)',
      '--drain: got "long", expected a number, or a string that holds one',
      '--log-level: got "loud", expected one of trace, debug, info, warn, error',
    ])
    assert.equal(checked.code, 1)
  })

  test('--authorization is refused beside a file, and so is a word that it does not know', async t => {
    const checked = await check(t, {}, { args: ['--check', '--authorization', 'agent'] })
    const expected = '--sidecar-for, --proxy-id or --service with it: with --config inbound.allow authorizes'
    assert.deepEqual(
      [checked.problems, checked.code],
      [[`--authorization: got "agent", expected ${expected}`], 1],
    )
    const inMesh = (word: string) => run(t, ['proxy', '--proxy-id', 'x', '--check', '--authorization', word])
    const wrong = inMesh('agnet')
    assert.equal((await wrong.end()).code, 1)
    assert.equal(wrong.stderr, '--authorization: got "agnet", expected one of intentions, agent\n')
    assert.equal((await inMesh('agent').end()).code, 0)
  })

  test('no command prints what there is', async t => {
    const command = run(t, [])
    assert.equal((await command.end()).code, 1)
    assert.match(command.stderr, /^Usage: sidesplice /)
  })

  test('--version prints the version, and what it was run against', async t => {
    const command = run(t, ['--version'])
    assert.equal((await command.end()).code, 0)
    const against = 'run against 1.8.7; 1.9 to 1.20 from their source'
    assert.equal(command.stdout, `${packageJson().version} (Consul: ${against})\n`)
    assert.ok(readFileSync(join(packageRoot, 'README.md'), 'utf8').includes(against))
  })
})

describe('the help of proxy', () => {
  test('names every setting of the schema, with its default', async t => {
    const { stdout } = await help(t)
    for (const [name, { type, default: fallback }] of Object.entries(schema().properties)) {
      if (['$schema', 'service'].includes(name) || type === 'object' || type === 'array') continue
      const flag = `--${name.replaceAll('_', '-')}`
      const [line] = stdout.split('\n').filter(one => one.trim().split(' ')[0] === flag)
      assert.ok(line !== undefined, `${flag} is not in the help`)
      if (fallback !== undefined && fallback !== false)
        assert.ok(line.includes(`(default ${fallback})`), line)
    }
  })

  test('has -h as the only short option', async t => {
    const { stdout } = await help(t)
    assert.deepEqual(
      [...stdout.matchAll(/(?<=[\s,])-[a-z]\b/gi)].map(([option]) => option),
      ['-h'],
    )
  })

  async function help(t: TestContext) {
    const command = run(t, ['proxy', '-h'])
    assert.equal((await command.end()).code, 0)
    assert.equal(command.stderr, '')
    return command
  }
})

/** A folder with a file that is no addon, for the loader to find in place of ours. */
function folderWithoutAddon(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-no-addon-'))
  mkdirSync(join(folder, 'build', 'Release'), { recursive: true })
  writeFileSync(join(folder, 'build', 'Release', 'sidesplice.node'), '')
  return folder
}

function packageJson(): { readonly version: string } {
  return JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
}

function schema(): {
  readonly properties: Record<string, { readonly type?: string; readonly default?: unknown }>
} {
  return JSON.parse(readFileSync(join(packageRoot, 'schema', 'sidesplice.schema.json'), 'utf8'))
}
