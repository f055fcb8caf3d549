// Writes dist/ from src/. With --if-stale only where a source is newer than the last build.
import { readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from './bundle.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const stamp = join(root, 'dist', '.built')
const sources = [
  'src',
  'package.json',
  'package-lock.json',
  'schema',
  'scripts/build.mjs',
  'scripts/bundle.mjs',
]

if (process.argv.includes('--if-stale') && builtAt() >= newest()) process.exit()
// Beside the old one until it is whole: who runs from dist/ meanwhile finds every file.
const fresh = join(root, 'dist.new')
const former = join(root, 'dist.old')
rmSync(fresh, { recursive: true, force: true })
const { licences } = await bundle({ root, outdir: fresh })
writeFileSync(
  join(fresh, 'LICENSES.txt'),
  `Of the packages that are in these files:\n\n${licences.join(`\n${'-'.repeat(80)}\n\n`)}`,
)
writeFileSync(join(fresh, '.built'), '')
rmSync(former, { recursive: true, force: true })
try {
  renameSync(join(root, 'dist'), former)
} catch {
  // There was none.
}
renameSync(fresh, join(root, 'dist'))
rmSync(former, { recursive: true, force: true })

function builtAt() {
  try {
    return statSync(stamp).mtimeMs
  } catch {
    return 0
  }
}

function newest() {
  const files = sources.flatMap(source => {
    const path = join(root, source)
    if (!statSync(path).isDirectory()) return [path]
    return readdirSync(path, { recursive: true }).map(name => join(path, name))
  })
  return Math.max(...files.map(file => statSync(file).mtimeMs))
}
