// Whether the native addon can be tested here: it loads, and is what native/ says now.
import { readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadAddon } from '../../src/data-plane/native/addon.ts'

export const packageRoot = fileURLToPath(new URL('../..', import.meta.url))

/** The file that the loader takes. */
export function addonFile(folder = packageRoot): string {
  const require = createRequire(import.meta.url)
  return (require('node-gyp-build') as { resolve(folder: string): string }).resolve(folder)
}

/** Why not; undefined where it can. */
export function missingAddon(): string | undefined {
  const loaded = loadAddon()
  if ('why' in loaded) return loaded.why
  return statSync(addonFile()).mtimeMs < newestSource() ? 'older than native/, see npm run addon' : undefined
}

function newestSource(): number {
  const native = join(packageRoot, 'native')
  const names = readdirSync(native, { recursive: true, encoding: 'utf8' })
  const sources = names.filter(name => /\.(cc|h)$/.test(name)).map(name => join(native, name))
  return Math.max(...[...sources, join(packageRoot, 'binding.gyp')].map(file => statSync(file).mtimeMs))
}
