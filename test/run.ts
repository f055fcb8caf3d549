// Runs the suites, each in a process of its own, and sums them up. `node test/run.ts [suite …]`; without a name all that this
// machine can run. With SIDESPLICE_REQUIRE_ALL=1 a missing part fails. All output is kept and searched for secrets.
import { spawn, spawnSync } from 'node:child_process'
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addon, type Suite, suites } from './suites.ts'
import { kernelTlsVariable, withoutNativeVariable } from './support/data-planes.ts'
import { findSecrets } from './support/secrets.ts'
import { sidecarPlanesVariable } from './support/sidecar-planes.ts'
import type { Tally } from './support/tally.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const output = join(root, '.test-output', process.versions.node)
const secrets = join(output, 'secrets.txt')
const requireAll = process.env.SIDESPLICE_REQUIRE_ALL === '1'
// A suite that hangs must not hold the rest for ever.
const suiteLimitMs = 25 * 60_000

const names = process.argv.slice(2)
const unknown = names.filter(name => !suites.some(suite => suite.name === name))
if (unknown.length > 0) {
  say(`no suite ${unknown.join(', ')}; there is ${suites.map(suite => suite.name).join(', ')}`)
  process.exit(1)
}
rmSync(output, { recursive: true, force: true })
mkdirSync(output, { recursive: true })
writeFileSync(secrets, '')

const total = { passed: 0, failed: 0, skipped: 0 }
const failures: string[] = []
const leftOut: string[] = []
for (const suite of suites.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const missing = suite.missing()
  if (missing.length > 0) {
    leftOut.push(`${suite.name} (missing: ${missing.join(', ')})`)
    continue
  }
  const withoutNative = suite.onBothDataPlanes === true && addon().length > 0
  if (withoutNative) leftOut.push(`${suite.name} on native (missing: ${addon().join(', ')})`)
  for (const sidecars of suite.sidecars ?? ['']) {
    const on = withoutNative ? ', on JavaScript alone' : sidecars === '' ? '' : `, sidecars on ${sidecars}`
    say(`\n=== ${suite.name}, Node ${process.versions.node}${on}`)
    const startedAt = performance.now()
    const sum = await runSuite(suite, {
      ...(withoutNative && { [withoutNativeVariable]: '1' }),
      [sidecarPlanesVariable]: sidecars,
    })
    say(`=== ${suite.name}${on}: ${Math.round((performance.now() - startedAt) / 1000)} s`)
    total.passed += sum.passed
    total.failed += sum.failed
    total.skipped += sum.skipped
    failures.push(...sum.failures.map(failure => `${suite.name}${on}: ${failure}`))
  }
}

const leaks = findSecrets(output, secrets)
say('')
if (leaks.length > 0) {
  for (const leak of leaks) say(`secret found in output: ${leak}`)
  total.failed++
} else {
  say('no key, certificate or token in any output')
  total.passed++
}
if (leftOut.length > 0) {
  say(`left out: ${leftOut.join('; ')}`)
  say('npm run test:setup (as root) and npm run addon bring what they need')
  if (requireAll) total.failed += leftOut.length
}
for (const failure of failures) say(`failed: ${failure}`)
say(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exit(total.failed > 0 ? 1 : 0)

async function runSuite(
  { name, files, filesAtATime, before = [], inKernelWithTls, inOwnNetwork, variables: own = {} }: Suite,
  variables: Record<string, string>,
): Promise<Tally> {
  for (const [program, ...args] of before) {
    const { status, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit', timeout: suiteLimitMs })
    if (status === 0) continue
    const why = `${program} ${args.join(' ')}: ${error?.message ?? `exit code ${status}`}`
    return { passed: 0, failed: 1, skipped: 0, failures: [why] }
  }
  const run = [name, variables[sidecarPlanesVariable]].filter(part => part !== '').join('-')
  const tally = join(output, `${run}.json`)
  const args = ['--test', '--test-reporter=spec', '--test-reporter-destination=stdout']
  if (filesAtATime !== undefined) args.push(`--test-concurrency=${filesAtATime}`)
  args.push('--test-reporter=./test/support/tally.ts', `--test-reporter-destination=${tally}`, ...files)
  const inside = [
    ...(inKernelWithTls === true ? ['test/support/uml.ts'] : []),
    ...(inOwnNetwork === true ? ['test/support/own-network.ts'] : []),
  ]
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...inside, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      SIDESPLICE_TEST_SECRETS: secrets,
      SIDESPLICE_TEST_OUTPUT: output,
      ...own,
      ...(inKernelWithTls === true && { [kernelTlsVariable]: '1' }),
      ...variables,
    },
  })
  const kept = createWriteStream(join(output, `${run}.log`))
  for (const [from, to] of [
    [child.stdout, process.stdout],
    [child.stderr, process.stderr],
  ] as const) {
    from.pipe(to, { end: false })
    from.pipe(kept, { end: false })
  }
  const limit = setTimeout(() => child.kill('SIGKILL'), suiteLimitMs)
  const code = await new Promise<number | null>(resolve => child.once('close', resolve))
  clearTimeout(limit)
  await new Promise(resolve => kept.end(resolve))
  const sum = existsSync(tally) ? (JSON.parse(readFileSync(tally, 'utf8') || '{}') as Partial<Tally>) : {}
  const { passed = 0, failed = 0, skipped = 0, failures = [] } = sum
  // A runner that died, or found no test at all, has not passed.
  if (passed + failed + skipped === 0 || (code !== 0 && failed === 0))
    return {
      passed,
      failed: failed + 1,
      skipped,
      failures: [...failures, `the runner ended with ${code}, ${passed} passed`],
    }
  return { passed, failed, skipped, failures }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
