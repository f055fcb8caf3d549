// What npm packs, as a user has it: installed into an empty folder, started by the Node that is there.
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { after, before, test } from 'node:test'
import { build, packageRoot, run } from '../support/command.ts'
import { mesh } from '../support/pki.ts'
import { configText, Folder, startSidecar } from '../support/running-sidecar.ts'

const folder = mkdtempSync(join(tmpdir(), 'sidesplice-package-'))
const installed = join(folder, 'node_modules', 'sidesplice')
const bin = join(installed, 'bin', 'sidesplice.cjs')

before(() => {
  build()
  // Not by npm's own prepack, which would write dist/ anew while other suites run it.
  const name = npm(['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], packageRoot).trim()
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  npm(['install', '--silent', '--prefer-offline', join(folder, name)], folder)
})
after(() => rmSync(folder, { recursive: true, force: true }))

test('it holds what runs and what a user reads, and nothing else', () => {
  const entries = readdirSync(installed).toSorted()
  assert.deepEqual(entries, ['CHANGELOG.md', 'LICENSE', 'README.md', 'bin', 'dist', 'package.json', 'schema'])
  assert.ok(existsSync(join(folder, 'node_modules', '.bin', 'sidesplice')))
})

test('it brings no package with an install script', () => {
  const modules = readdirSync(join(folder, 'node_modules'), { recursive: true, encoding: 'utf8' })
  const manifests = modules.filter(name =>
    /(^|node_modules\/)(@[^/]+\/)?[^/@.][^/]*\/package\.json$/.test(name),
  )
  assert.ok(manifests.length > 5)
  const withScripts = manifests.filter(name => {
    const { scripts = {} } = JSON.parse(readFileSync(join(folder, 'node_modules', name), 'utf8')) as {
      scripts?: object
    }
    return ['preinstall', 'install', 'postinstall'].some(script => script in scripts)
  })
  assert.deepEqual(withScripts, [])
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
  for (const name of ['package.json', 'package-lock.json'])
    writeFileSync(join(clone, name), readFileSync(join(packageRoot, name)))
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
})

/** npm as a user runs it, not as a script of this package's. */
function npm(args: readonly string[], cwd: string): string {
  return execFileSync('npm', [...args], {
    cwd,
    encoding: 'utf8',
    env: plainEnv(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

function plainEnv(): NodeJS.ProcessEnv {
  const path = (process.env.PATH ?? '').split(delimiter).filter(part => !part.includes('node_modules'))
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_'))
  return { ...Object.fromEntries(own), PATH: path.join(delimiter), HOME: homedir() }
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
