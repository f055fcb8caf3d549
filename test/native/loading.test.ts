// What is no addon for this Node is refused with a reason, and never ends the process.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, type TestContext, test } from 'node:test'
import { loadAddonFrom, type Runtime } from '../../src/data-plane/native/addon.ts'
import { addonFile, packageRoot } from '../support/addon.ts'

const loader = new URL('../../src/data-plane/native/addon.ts', import.meta.url)

// Found when it runs, not when it is loaded: its caller is there, and what it calls is not.
const callsWhatIsMissing = `
int sidesplice_has_no_such_symbol(void);
void *napi_register_module_v1(void *env, void *exports) {
  (void)env;
  sidesplice_has_no_such_symbol();
  return exports;
}`

describe('an addon that needs a symbol which this Node lacks', () => {
  test('is refused with the name of the symbol where it is bound at load', t => {
    const { status, signal, stdout } = load(compiled(t, '-Wl,-z,now'))
    assert.deepEqual([status, signal], [0, null])
    assert.match(stdout, /^it can not be loaded: .*undefined symbol: sidesplice_has_no_such_symbol\n$/)
  })

  test('would end the process where it is bound when it is called', t => {
    const { status, stdout, stderr } = load(compiled(t, '-Wl,-z,lazy'))
    assert.equal(stdout, '')
    assert.notEqual(status, 0)
    assert.match(stderr, /symbol lookup error: .*sidesplice_has_no_such_symbol/)
  })

  test('can not be ours without being noticed: ours is bound at load', () => {
    const flags = execFileSync('readelf', ['--dynamic', '--wide', addonFile()], { encoding: 'utf8' })
    assert.match(flags, /\(FLAGS(_1)?\).*\bNOW\b/)
  })
})

describe('a Node that is another than the one that the addon is for', () => {
  const node: Runtime = process
  const linked = { variables: { ...process.config.variables, node_shared_openssl: true } }
  const others: readonly (readonly [string, Runtime, RegExp])[] = [
    [
      'with another OpenSSL 3',
      { ...node, versions: { openssl: '3.99.0' } },
      /^it is bound to OpenSSL 3\.\d+\.\d+, Node has 3\.99\.0$/,
    ],
    ['linked to a shared OpenSSL', runtime({ config: linked }), /^this Node is linked to a shared OpenSSL$/],
    [
      'with OpenSSL 1.1.1',
      runtime({ versions: { openssl: '1.1.1w' } }),
      /^it needs OpenSSL 3 inside Node, this Node has 1\.1\.1w$/,
    ],
    ['with OpenSSL 4', runtime({ versions: { openssl: '4.0.0' } }), /this Node has 4\.0\.0$/],
    [
      'with BoringSSL, which says 0.0.0',
      runtime({ versions: { openssl: '0.0.0' } }),
      /this Node has 0\.0\.0$/,
    ],
    [
      'with a fork of OpenSSL',
      runtime({ versions: { openssl: '3.0.8+quic' } }),
      /this Node has 3\.0\.8\+quic$/,
    ],
    ['without OpenSSL', runtime({ versions: {} }), /this Node has none$/],
    ['on another system', runtime({ platform: 'darwin' }), /^it is for Linux, this is darwin$/],
  ]
  for (const [title, other, expected] of others) {
    test(`${title} is refused`, () => {
      const loaded = loadAddonFrom(packageRoot, other)
      assert.match('why' in loaded ? loaded.why : 'it was loaded', expected)
    })
  }

  test('and this one is taken', () => {
    assert.ok('addon' in loadAddonFrom(packageRoot))
  })

  function runtime(change: Partial<Runtime>): Runtime {
    return { platform: 'linux', versions: process.versions, config: process.config, ...change }
  }
})

describe('a file that is no addon of ours', () => {
  const files: readonly (readonly [string, (file: string) => void, RegExp])[] = [
    [
      'text',
      file => writeFileSync(file, 'not an addon\n'.repeat(1000)),
      /^it can not be loaded: .*invalid ELF header$/,
    ],
    ['an empty file', file => writeFileSync(file, ''), /^it can not be loaded: .*file too short$/],
    [
      'a program',
      file => copyFileSync('/bin/true', file),
      /^it can not be loaded: .*cannot dynamically load/,
    ],
    [
      'a library',
      file => compile('int one(void) { return 1; }', file),
      /^it can not be loaded: .*did not self-register/,
    ],
    [
      'another addon',
      file =>
        compile(
          'void *napi_register_module_v1(void *env, void *exports) { (void)env; return exports; }',
          file,
        ),
      /^it can not be loaded: the file is another addon$/,
    ],
  ]
  for (const [title, make, expected] of files) {
    test(`${title} is refused with a reason`, t => {
      const { file, folder } = emptyPackage(t)
      make(file)
      const { status, signal, stdout } = load(folder)
      assert.deepEqual([status, signal], [0, null])
      assert.match(stdout.trimEnd(), expected)
    })
  }

  test('nothing at all is, too', t => {
    const { folder } = emptyPackage(t)
    assert.match(load(folder).stdout, /^it can not be loaded: No native build was found for platform=linux /)
  })
})

function emptyPackage(t: TestContext): { readonly folder: string; readonly file: string } {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-addon-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'build', 'Release'), { recursive: true })
  return { folder, file: join(folder, 'build', 'Release', 'sidesplice.node') }
}

function compiled(t: TestContext, flag: string): string {
  const { folder, file } = emptyPackage(t)
  compile(callsWhatIsMissing, file, flag)
  return folder
}

function compile(source: string, file: string, ...flags: readonly string[]): void {
  execFileSync('gcc', ['-shared', '-fPIC', ...flags, '-x', 'c', '-o', file, '-'], { input: source })
}

/** What the loader says of a folder, in a process of its own, which it must not end. */
function load(folder: string) {
  const script = `import { loadAddonFrom } from ${JSON.stringify(loader.href)}
    const loaded = loadAddonFrom(${JSON.stringify(folder)})
    console.log(loaded.why ?? 'it was loaded')`
  const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', script]
  return spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 })
}
