// The command where a user without rights can run it: a checkout may stand in a folder that only its owner may enter.
import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { addonFile, missingAddon } from './addon.ts'
import { build, packageRoot } from './command.ts'

interface LockFile {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>
}

/** A copy of what runs, with this Node, that everyone may read; gone after the test. */
export function worldReadable(t: TestContext): { readonly bin: string; readonly node: string } {
  build()
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-readable-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  for (const name of ['bin', 'dist', 'schema', 'package.json']) {
    cpSync(join(packageRoot, name), join(folder, name), { recursive: true })
  }
  if (missingAddon() === undefined) {
    mkdirSync(join(folder, 'build', 'Release'), { recursive: true })
    copyFileSync(addonFile(), join(folder, 'build', 'Release', 'sidesplice.node'))
  }
  const { packages } = JSON.parse(readFileSync(join(packageRoot, 'package-lock.json'), 'utf8')) as LockFile
  for (const [path, { dev = false }] of Object.entries(packages)) {
    if (path === '' || dev) continue
    mkdirSync(join(folder, path), { recursive: true })
    cpSync(join(packageRoot, path), join(folder, path), { recursive: true })
  }
  const node = join(folder, 'node')
  copyFileSync(process.execPath, node)
  chmodSync(node, 0o755)
  return { bin: join(folder, 'bin', 'sidesplice.cjs'), node }
}
