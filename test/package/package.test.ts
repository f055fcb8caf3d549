// What npm packs, as a user has it: installed into an empty folder, started by the Node that is there.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join, relative } from 'node:path'
import { after, before, describe, type TestContext, test } from 'node:test'
import { build, packageRoot, run } from '../support/command.ts'
import { npm, pathWithoutCompiler, plainEnv } from '../support/npm.ts'
import { mesh } from '../support/pki.ts'
import { configText, Folder, startSidecar } from '../support/running-sidecar.ts'

// Seven short measurements, and two sidecars that start.
const benchLimitMs = 60_000
const folder = mkdtempSync(join(tmpdir(), 'sidesplice-package-'))
const installed = join(folder, 'node_modules', 'sidesplice')
let installedTarball = ''
const bin = join(installed, 'bin', 'sidesplice.cjs')

before(() => {
  build()
  // As prepack has it, for this machine.
  npm(['run', '--silent', 'prebuild', '--', '--if-stale'], packageRoot)
  // Not by npm's own prepack, which would write dist/ anew while other suites run it.
  const name = npm(['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], packageRoot).trim()
  installedTarball = join(folder, name)
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  npm(['install', '--silent', '--prefer-offline', installedTarball], folder)
})
after(() => rmSync(folder, { recursive: true, force: true }))

test('it holds what runs and what a user reads, and nothing else', () => {
  const entries = readdirSync(installed).toSorted()
  const holds = ['CHANGELOG.md', 'LICENSE', 'README.md', 'bin', 'binding.gyp', 'dist', 'examples']
  assert.deepEqual(entries, [...holds, 'native', 'package.json', 'prebuilds', 'schema', 'scripts'])
  assert.deepEqual(readdirSync(join(installed, 'scripts')).toSorted(), ['addon.mjs', 'install-addon.mjs'])
  assert.ok(existsSync(join(folder, 'node_modules', '.bin', 'sidesplice')))
})

test('it brings two packages, neither with an install script; what else it uses is in its own files', () => {
  const modules = join(folder, 'node_modules')
  const packages = readdirSync(modules).filter(name => !name.startsWith('.'))
  assert.deepEqual(packages.toSorted(), ['node-addon-api', 'node-gyp-build', 'sidesplice'])
  for (const name of packages.filter(name => name !== 'sidesplice')) {
    const { scripts = {}, dependencies = {} } = JSON.parse(
      readFileSync(join(modules, name, 'package.json'), 'utf8'),
    ) as { scripts?: object; dependencies?: object }
    assert.deepEqual(
      ['preinstall', 'install', 'postinstall'].filter(script => script in scripts),
      [],
    )
    assert.deepEqual(dependencies, {})
  }
  const licences = readFileSync(join(installed, 'dist', 'LICENSES.txt'), 'utf8')
  for (const name of ['commander', 'pino', 'prom-client', 'undici', '@peculiar/x509'])
    assert.match(licences, new RegExp(`^${name} [0-9.]+\n\n.*`, 'm'))
})

describe('the addon', () => {
  test('is there without a compiler, from the one file that was made before', async t => {
    const folder = install(t, installedTarball, { path: pathWithoutCompiler(t) })
    assert.ok(!existsSync(join(folder.installed, 'build')), 'nothing was compiled')
    assert.equal(await chosen(t, folder.bin), 'data_plane=native why="the addon fits this Node"')
  })

  test('is compiled where none was made before for the machine', { timeout: 400_000 }, async t => {
    const folder = install(t, tarballWithoutPrebuild(t))
    const made = readdirSync(join(folder.installed, 'build', 'Release'))
      .filter(isMade)
      .toSorted()
    assert.deepEqual(made, ['sidesplice-load', 'sidesplice.node'])
    assert.equal(await chosen(t, folder.bin), 'data_plane=native why="the addon fits this Node"')
  })

  test('is missing where none was made and none can be compiled: JavaScript runs, and says why', async t => {
    const folder = install(t, tarballWithoutPrebuild(t), { path: pathWithoutCompiler(t) })
    assert.equal(
      folder.said.split('\n').filter(line => line.startsWith('sidesplice will run on JavaScript: ')).length,
      1,
      folder.said,
    )
    assert.match(folder.said, /the native addon was not compiled, no C\+\+20 compiler \(g\+\+\)/)
    const why = 'it can not be loaded: No native build was found for platform=linux '
    assert.ok((await chosen(t, folder.bin)).startsWith(`data_plane=javascript why="${why}`))
    const files = await Folder.make(t)
    await files.writeIdentity(mesh.web, mesh.root)
    await files.writeConfig({ upstreams: [] })
    const args = ['proxy', '--config', files.file('sidecar.json'), '--check', '--data-plane', 'native']
    const native = run(t, args, { bin: folder.bin })
    assert.equal((await native.end()).code, 1)
    assert.ok(native.stderr.startsWith(`data plane native can't run: ${why}`), native.stderr)
  })

  test('is not packed where it can not be made', t => {
    const folder = mkdtempSync(join(tmpdir(), 'sidesplice-prepack-'))
    t.after(() => rmSync(folder, { recursive: true, force: true }))
    copyCheckout(folder)
    rmSync(join(folder, 'prebuilds'), { recursive: true, force: true })
    symlinkSync(join(packageRoot, 'node_modules'), join(folder, 'node_modules'))
    const { status, stderr } = spawnSync('npm', ['pack'], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...plainEnv(), PATH: pathWithoutCompiler(t) },
    })
    assert.notEqual(status, 0)
    assert.match(stderr, /^no prebuild of the native addon: no C\+\+20 compiler \(g\+\+\)$/m)
    assert.deepEqual(
      readdirSync(folder).filter(name => name.endsWith('.tgz')),
      [],
    )
  })
})

test('proxy --check runs there, and tells good from bad', async t => {
  const files = await Folder.make(t)
  await files.writeIdentity(mesh.web, mesh.root)
  await files.writeConfig({ upstreams: [] })
  const good = run(t, ['proxy', '--config', files.file('sidecar.json'), '--check'], { bin })
  assert.equal((await good.end()).code, 0, good.stderr)
  await files.write('sidecar.json', configText({ upstreams: [], colour: 'blue' }))
  const bad = run(t, ['proxy', '--config', files.file('sidecar.json'), '--check'], { bin })
  assert.equal((await bad.end()).code, 1)
  assert.match(bad.stderr, /colour: got an unknown key/)
})

test('a sidecar runs there', async t => {
  const sidecar = await startSidecar(t, { upstreams: [] }, { bin })
  assert.equal((await sidecar.get('/ready')).body, 'ready\n')
  assert.equal((await sidecar.command.stop()).code, 0)
})

test('bench runs there, with the load generator that was made before', async t => {
  const command = run(t, ['bench', '--seconds', '0.1'], { bin })
  assert.equal((await command.end(benchLimitMs)).code, 0, command.stderr)
  assert.match(command.stdout, /^two sidecars, mutual TLS 1\.3, data plane native:$/m)
  assert.ok(!existsSync(join(installed, 'build')), 'nothing was compiled')
})

test('under Node 20 one line says what is needed, exit 1', () => {
  for (const args of [['proxy', '--config', 'x.json'], ['--help']]) {
    const { status, stdout, stderr } = spawnSync(oldNode(), [bin, ...args], { encoding: 'utf8' })
    assert.equal(status, 1)
    assert.equal(stdout, '')
    assert.match(stderr, /^sidesplice needs Node 22\.19 or newer, this is 20\.\d+\.\d+\n$/)
  }
})

test('npm ci on a clean clone prints no warning', { timeout: 300_000 }, () => {
  const clone = join(folder, 'clone')
  mkdirSync(clone)
  copyCheckout(clone)
  const { status, stderr } = spawnSync('npm', ['ci', '--prefer-offline'], {
    cwd: clone,
    encoding: 'utf8',
    env: plainEnv(),
  })
  // Of the machine's own configuration, not of this project's.
  const warnings = stderr.split('\n').filter(line => line !== '' && !line.includes('Unknown user config'))
  assert.deepEqual(warnings, [])
  assert.equal(status, 0)
  assert.match(
    execFileSync(join(clone, 'node_modules', '.bin', 'node'), ['--version'], { encoding: 'utf8' }),
    /^v24\./,
  )
  const made = readdirSync(join(clone, 'build', 'Release'))
    .filter(isMade)
    .toSorted()
  assert.deepEqual(made, ['sidesplice-load', 'sidesplice.node'])
})

interface Installed {
  readonly installed: string
  readonly bin: string
  /** What npm and the package's own script said. */
  readonly said: string
}

/** Into an empty folder. */
function install(t: TestContext, tarball: string, { path }: { readonly path?: string } = {}): Installed {
  const into = mkdtempSync(join(tmpdir(), 'sidesplice-installed-'))
  t.after(() => rmSync(into, { recursive: true, force: true }))
  writeFileSync(join(into, 'package.json'), '{ "private": true, "allowScripts": { "sidesplice": true } }')
  const args = ['install', '--foreground-scripts', '--prefer-offline', tarball]
  const env = { ...plainEnv(), ...(path !== undefined && { PATH: path }) }
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: into, encoding: 'utf8', env })
  assert.equal(status, 0, stderr)
  const at = join(into, 'node_modules', 'sidesplice')
  return { installed: at, bin: join(at, 'bin', 'sidesplice.cjs'), said: `${stdout}${stderr}` }
}

/** What a sidecar says of its data plane. */
async function chosen(t: TestContext, installedBin: string): Promise<string> {
  const { command } = await startSidecar(t, { upstreams: [] }, { bin: installedBin })
  return / data plane chosen (.*)$/.exec(await command.line('data plane chosen'))?.[1] ?? ''
}

/** The package as a machine has it that nobody made a prebuild for. */
function tarballWithoutPrebuild(t: TestContext): string {
  const unpacked = mkdtempSync(join(tmpdir(), 'sidesplice-unpacked-'))
  t.after(() => rmSync(unpacked, { recursive: true, force: true }))
  cpSync(installed, unpacked, { recursive: true })
  rmSync(join(unpacked, 'prebuilds'), { recursive: true })
  return join(unpacked, npm(['pack', '--ignore-scripts', '--silent'], unpacked).trim())
}

/** What git has of the package, as it is now. */
function copyCheckout(to: string): void {
  const made = ['node_modules', 'dist', 'build', 'prebuilds', '.git', '.test-output']
  const source = (path: string) => !made.includes(relative(packageRoot, path)) && !path.endsWith('.tgz')
  cpSync(packageRoot, to, { recursive: true, filter: source })
}

/** Of the two that are compiled; beside them stands what the compiler keeps. */
function isMade(name: string): boolean {
  return name.endsWith('.node') || name === 'sidesplice-load'
}

/** The machine's own Node where that is 20, else one from npm in a cache folder. */
function oldNode(): string {
  const machines = (plainEnv().PATH ?? '').split(delimiter).map(part => join(part, 'node'))
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'sidesplice', 'node-20')
  const cached = join(cache, 'node_modules', '.bin', 'node')
  const isOld = (node: string) =>
    existsSync(node) && execFileSync(node, ['--version'], { encoding: 'utf8' }).startsWith('v20.')
  const found = [...machines, cached].find(isOld)
  if (found !== undefined) return found
  mkdirSync(cache, { recursive: true })
  writeFileSync(join(cache, 'package.json'), '{ "private": true, "allowScripts": { "node": true } }')
  npm(['install', '--silent', '--no-save', 'node@20'], cache)
  return cached
}
