// What compiling the addon takes: npm's own node-gyp, a C++20 compiler, and the headers of a Node, none of them downloaded where they
// are on the machine. For the scripts beside it.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** npm brings a node-gyp that fits the Node that npm runs on, and names it to its scripts: a dependency of ours would fit one of them. */
export function nodeGyp() {
  const path = process.env.npm_config_node_gyp
  if (path !== undefined && existsSync(path)) return path
  throw new Error('npm names no node-gyp: run it by npm')
}

/** Why nothing can be compiled here; undefined where it can. */
export function missingCompiler(env = process.env) {
  const compiler = env.CXX ?? 'g++'
  const tried = spawnSync('sh', ['-c', `${compiler} -std=c++20 -fsyntax-only -x c++ -`], {
    input: '#include <span>\nint main() { return 0; }\n',
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  if (tried.status !== 0) return `no C++20 compiler (${compiler})`
  return spawnSync('make', ['--version'], { stdio: 'ignore' }).status === 0 ? undefined : 'no make'
}

/**
 * What node-gyp is told of headers. N-API and OpenSSL 3 are the same for every Node that is supported, so those of any will do: npm's
 * configured `nodedir`, else those beside the Node that runs or in the system's folders; else node-gyp fetches them, its own way.
 */
export function headerOptions() {
  if (process.env.npm_config_nodedir) return [`--nodedir=${process.env.npm_config_nodedir}`]
  const folders = [dirname(dirname(realpathSync(process.execPath))), '/usr/local', '/usr']
  const found = folders.find(hasHeaders)
  return found === undefined ? [] : [`--nodedir=${found}`]
}

const oldestHeaders = 20

function hasHeaders(folder) {
  try {
    const text = readFileSync(join(folder, 'include/node/node_version.h'), 'utf8')
    const major = Number(/define NODE_MAJOR_VERSION (\d+)/.exec(text)?.[1])
    return major >= oldestHeaders && existsSync(join(folder, 'include/node/openssl/ssl.h'))
  } catch {
    return false
  }
}

/** Resolves with the exit code and what was said. `output` is what becomes of that: 'pipe' keeps it, 'inherit' shows it. */
export function runNode(args, { cwd = root, env = process.env, output = 'pipe' } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, env, stdio: ['ignore', output, output] })
    let said = ''
    child.stdout?.on('data', chunk => {
      said += chunk
    })
    child.stderr?.on('data', chunk => {
      said += chunk
    })
    child.once('error', reject)
    child.once('close', code => resolve({ code, said }))
  })
}

/** When what the addon is made of was last changed. */
export function newestSource() {
  const native = join(root, 'native')
  const files = readdirSync(native, { recursive: true }).map(name => join(native, name))
  files.push(join(root, 'binding.gyp'))
  return Math.max(...files.filter(name => /\.(cc|h|gyp|mjs)$/.test(name)).map(name => statSync(name).mtimeMs))
}
