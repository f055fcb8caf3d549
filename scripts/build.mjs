// Writes dist/ from src/. With --if-stale only where a source is newer than the last build.
import { execFileSync } from 'node:child_process'
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const stamp = join(root, 'dist', '.built')
const sources = ['src', 'package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json']

if (process.argv.includes('--if-stale') && builtAt() >= newest()) process.exit()
rmSync(join(root, 'dist'), { recursive: true, force: true })
execFileSync(
  process.execPath,
  [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json'],
  {
    cwd: root,
    stdio: 'inherit',
  },
)
writeFileSync(stamp, '')

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
