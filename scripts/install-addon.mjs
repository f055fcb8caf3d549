// npm's `install` script. A package that has a prebuild for this machine is left as it is; anything else, a checkout first of all, has
// the addon compiled. Where that can't be done one line says what comes of it, and the install succeeds: sidesplice runs on
// JavaScript then. `--show` (npm run addon) compiles in any case and shows what the compiler says.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { headerOptions, missingCompiler, nodeGyp, root, runNode } from './addon.mjs'

const show = process.argv.includes('--show')
// A package holds no sources of what is in dist/.
const isCheckout = existsSync(join(root, 'src'))

const why = show || isCheckout || !hasPrebuild() ? await compile() : undefined
if (why !== undefined) {
  const more = show ? '' : '; npm run addon, in its folder, shows more'
  process.stderr.write(
    `sidesplice will run on JavaScript: the native addon was not compiled, ${why}${more}\n`,
  )
  process.exitCode = show ? 1 : 0
}

/** Whether one is there that this machine's loader takes. The Node of an install may be too old to say more. */
function hasPrebuild() {
  process.env.PREBUILDS_ONLY = '1'
  const require = createRequire(import.meta.url)
  try {
    process.dlopen({ exports: {} }, require('node-gyp-build').resolve(root))
    return true
  } catch {
    return false
  }
}

/** Why not; undefined where it was done. */
async function compile() {
  if (process.platform !== 'linux') return `it is for Linux, this is ${process.platform}`
  const missing = missingCompiler()
  if (missing !== undefined) return missing
  try {
    const args = [nodeGyp(), 'rebuild', '--jobs=max', ...headerOptions()]
    const { code, said } = await runNode(args, { output: show ? 'inherit' : 'pipe' })
    return code === 0 ? undefined : lastError(said)
  } catch (error) {
    return error.message
  }
}

function lastError(said) {
  const errors = said.split('\n').filter(line => /\berror\b|ERR!/i.test(line))
  return (errors.find(line => / error: /.test(line)) ?? errors.at(0) ?? 'node-gyp failed').trim()
}
