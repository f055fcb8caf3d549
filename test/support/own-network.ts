// Runs Node in a network of its own: loopback alone, whose queues are short, so that thousands of connections that nobody reads from hold
// megabytes of the kernel's memory and not gigabytes. `node test/support/own-network.ts ARGUMENT…` is `node ARGUMENT…` there, with its
// output and its exit code (unshare(1), tcp(7)).
import { spawn } from 'node:child_process'

// Least, at first, most. What is to be read has its usual size at first: the longest record fits in.
const queues = { tcp_wmem: '4096 16384 65536', tcp_rmem: '4096 131072 131072' }
const script = [
  'ip link set lo up',
  ...Object.entries(queues).map(([name, bytes]) => `echo '${bytes}' >/proc/sys/net/ipv4/${name}`),
  'exec "$@"',
].join(' && ')

const command = [process.execPath, ...process.execArgv, ...process.argv.slice(2)]
// Ends with this process, however that ends (prctl(2), PR_SET_PDEATHSIG).
const withUs = ['setpriv', '--pdeathsig', 'KILL']
const inside = spawn(
  'unshare',
  ['--map-root-user', '--net', '--', ...withUs, 'sh', '-c', script, 'sh', ...command],
  { stdio: 'inherit' },
)
// Whoever ends this means what runs inside: sh and unshare have become it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => inside.kill(signal))
inside.on('error', error => {
  process.stderr.write(`unshare: ${error.message}\n`)
  process.exitCode = 1
})
inside.on('exit', code => {
  process.exitCode = code ?? 1
})
