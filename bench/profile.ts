// Where the CPU of a chain goes: perf(1) over A and B while the load generator runs.
//   node bench/profile.ts sidesplice-native bulk direction=down streams=4
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeIdentities } from '../src/bench/identities.ts'
import { LoadServer, runLoad } from '../src/bench/load.ts'
import { Chain } from './chain.ts'
import { peers } from './peers/index.ts'

const [name = 'sidesplice-native', mode = 'bulk', ...pairs] = process.argv.slice(2)
const seconds = 3
// Less is lost in the noise of so many samples.
const leastPercent = '1'
const peer = peers.find(one => one.name === name)
if (peer === undefined)
  throw new Error(`got ${name}, expected one of ${peers.map(one => one.name).join(', ')}`)

const folder = mkdtempSync(join(tmpdir(), 'sidesplice-profile-'))
const app = await LoadServer.start('app', { listen: '127.0.0.1:0' })
const identities = await makeIdentities(join(folder, 'identities'))
const chain = await Chain.open(peer, { folder, app: app.address, identities })
try {
  await chain.start()
  const options = Object.fromEntries(pairs.map(pair => pair.split('=') as [string, string]))
  await runLoad(mode, { to: chain.to, ...options, seconds: 0.3 })
  const data = join(folder, 'perf.data')
  const record = ['record', '-q', '-e', 'cpu-clock', '-F', '999', '-p', chain.pids.join(','), '-o', data]
  const perf = spawn('perf', [...record, '--', 'sleep', String(seconds)], { stdio: 'ignore' })
  await Promise.all([runLoad(mode, { to: chain.to, ...options, seconds }), once(perf, 'exit')])
  for (const sort of ['comm', 'dso', 'symbol']) {
    const report = ['report', '-q', '--stdio', '--no-children', '--percent-limit', leastPercent]
    const { stdout } = spawnSync('perf', [...report, '-i', data, '--sort', sort], { encoding: 'utf8' })
    const lines = stdout.split('\n').filter(line => line.includes('%'))
    process.stdout.write(`by ${sort}\n${lines.map(line => line.replace(/(\s+-)*\s*$/, '')).join('\n')}\n`)
  }
} finally {
  await chain.close()
  app.stop()
  rmSync(folder, { recursive: true, force: true })
}
