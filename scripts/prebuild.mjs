// Writes prebuilds/: the addon of this platform and the load generator beside it, or with --arch of another that a cross compiler (CC,
// CXX) was named for. One file of each does for every Node. With --if-stale only where a source is newer. Compiled in a folder of its
// own, so that build/ stays what it is.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { headerOptions, missingCompiler, newestSource, nodeGyp, root, runNode } from './addon.mjs'

const { values } = parseArgs({
  options: {
    'if-stale': { type: 'boolean', default: false },
    arch: { type: 'string', default: process.arch },
    libc: { type: 'string' },
  },
})
const prebuilds = join(root, 'prebuilds')
dropStale()
if (!values['if-stale'] || !isMade()) await make()

/** What was made from older sources is never packed. */
function dropStale() {
  for (const file of files()) if (statSync(file).mtimeMs < newestSource()) rmSync(file)
}

function isMade() {
  const made = files().filter(file => file.includes(`${process.platform}-${values.arch}`))
  return made.some(isAddon) && made.some(file => !isAddon(file))
}

function isAddon(file) {
  return file.endsWith('.node')
}

function files() {
  if (!existsSync(prebuilds)) return []
  const names = readdirSync(prebuilds, { recursive: true })
  return names.map(name => join(prebuilds, name)).filter(name => statSync(name).isFile())
}

async function make() {
  const missing = missingCompiler()
  if (missing !== undefined) fail(missing)
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-prebuild-'))
  try {
    for (const name of ['package.json', 'binding.gyp', 'native'])
      cpSync(join(root, name), join(folder, name), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
    const { code, said } = await prebuildify(folder)
    if (code !== 0) fail(`the compiler failed:\n${said}`)
    keepLoad(join(folder, 'build', 'Release', 'sidesplice-load'))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  for (const file of files())
    process.stdout.write(`${file.slice(root.length)} ${statSync(file).size} bytes\n`)
}

/** prebuildify takes addons alone. The load generator goes beside the addon, under the same tag of the libc. */
function keepLoad(made) {
  const addon = files().find(file => file.includes(`${process.platform}-${values.arch}`) && isAddon(file))
  const kept = addon.replace(/sidesplice(\.\w+)?\.node$/, 'sidesplice-load$1')
  cpSync(made, kept)
  chmodSync(kept, 0o755)
  const strip = process.env.PREBUILD_STRIP_BIN ?? 'strip'
  if (spawnSync(strip, [kept], { stdio: 'ignore' }).status !== 0) fail(`${strip} failed`)
}

function prebuildify(folder) {
  const bin = createRequire(import.meta.url).resolve('prebuildify/bin.js')
  const options = ['--napi', '--strip', `--tag-libc${values.libc === undefined ? '' : `=${values.libc}`}`]
  const target = [`--arch=${values.arch}`, `--target=${process.versions.node}`]
  const [nodedir] = headerOptions()
  const env = {
    ...process.env,
    PREBUILD_NODE_GYP: nodeGyp(),
    JOBS: 'max',
    ...(nodedir !== undefined && { npm_config_nodedir: nodedir.slice('--nodedir='.length) }),
  }
  return runNode([bin, ...options, ...target, `--cwd=${folder}`, `--out=${root}`], { env })
}

function fail(why) {
  process.stderr.write(`no prebuild of the native addon: ${why}\n`)
  process.exit(1)
}
