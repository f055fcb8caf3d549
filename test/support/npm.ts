// npm as a user has it: not as a script of this package's, and on request where nothing can be compiled.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'
import { findProgram } from '../suites.ts'

/** npm as a user runs it, not as a script of this package's. */
export function npm(args: readonly string[], cwd: string): string {
  return execFileSync('npm', [...args], {
    cwd,
    encoding: 'utf8',
    env: plainEnv(),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

export function plainEnv(): NodeJS.ProcessEnv {
  const path = (process.env.PATH ?? '').split(delimiter).filter(part => !part.includes('node_modules'))
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('npm_'))
  return { ...Object.fromEntries(own), PATH: path.join(delimiter), HOME: homedir() }
}

/** A folder with what npm needs to install, and nothing that compiles. */
export function pathWithoutCompiler(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'sidesplice-path-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  for (const name of ['sh', 'npm', 'env'])
    symlinkSync(realpathSync(findProgram(name) ?? ''), join(path, name))
  symlinkSync(process.execPath, join(path, 'node'))
  return path
}
