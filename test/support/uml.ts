// Runs Node inside a Linux that has kernel TLS: Debian's user-mode-linux, a kernel as a process, on this machine's own files and
// Node. `node test/support/uml.ts ARGUMENT…` is `node ARGUMENT…` there, with its output and its exit code.
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

// The whole suite takes a fraction of it; a kernel that hangs ends here.
const limitMs = 12 * 60_000
const memory = '1200M'
// What a kernel module needs comes before it.
const modules = [
  ...['ctr', 'gf128mul', 'ghash-generic', 'gcm', 'ccm'].map(name => `crypto/${name}`),
  ...['lib/crypto/libchacha', 'lib/crypto/libpoly1305'],
  ...['chacha_generic', 'poly1305_generic', 'chacha20poly1305'].map(name => `crypto/${name}`),
  'net/tls/tls',
]

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await runInKernel([process.execPath, ...process.execArgv, ...process.argv.slice(2)])
}

/** The exit code of a command in there; 1 where the kernel did not get to it. */
export async function runInKernel(command: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'sidesplice-uml-'))
  try {
    const result = join(folder, 'code')
    const init = join(folder, 'init')
    writeFileSync(init, script(command, result))
    chmodSync(init, 0o755)
    const ended = await boot(init)
    if (existsSync(result)) return Number(readFileSync(result, 'utf8'))
    process.stderr.write(`the kernel ended without a result: ${ended}\n`)
    return 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function boot(init: string): Promise<string> {
  const kernel = spawn(
    'linux.uml',
    [
      `mem=${memory}`,
      ...['rootfstype=hostfs', 'rootflags=/', 'rw', `init=${init}`],
      ...['con=null', 'con0=fd:0,fd:1', 'quiet'],
    ],
    // A group of its own: each process in there is one out here, and all of them end with it.
    { detached: true, stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const end = () => {
    try {
      if (kernel.pid !== undefined) process.kill(-kernel.pid, 'SIGKILL')
    } catch {
      // It is gone.
    }
  }
  const limit = setTimeout(end, limitMs)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end)
  process.once('exit', end)
  kernel.stdout.on('data', (chunk: Buffer) => process.stdout.write(chunk.toString().replaceAll('\r', '')))
  return new Promise(resolve => {
    kernel.once('error', error => resolve(error.message))
    kernel.once('close', (code, signal) => {
      clearTimeout(limit)
      resolve(`exit code ${code}, signal ${signal}`)
    })
  })
}

/** The first process in there: it makes the machine one that a test can run on, runs it, and turns it off. */
function script(command: readonly string[], result: string): string {
  const variables = Object.entries(process.env).filter(
    ([name]) => name === 'PATH' || name === 'HOME' || name.startsWith('SIDESPLICE_'),
  )
  return `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
for module in ${modules.join(' ')}; do
  busybox insmod "/usr/lib/uml/modules/$(uname -r)/kernel/$module.ko"
done
busybox ip link set lo up
ulimit -n 20000
${variables.map(([name, value]) => `export ${name}=${quoted(value ?? '')}`).join('\n')}
export TMPDIR=/run
cd ${quoted(process.cwd())}
echo "kernel $(uname -r), ULP: $(cat /proc/sys/net/ipv4/tcp_available_ulp)"
${command.map(quoted).join(' ')}
echo $? >${quoted(`${result}.part`)}
mv ${quoted(`${result}.part`)} ${quoted(result)}
sync
busybox poweroff -f
`
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
