// npm run bench: what a hop costs with sidesplice and with its peers, on this machine. `npm run bench -- --help` lists what can be chosen.
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, Option } from 'commander'
import { describeMachine } from '../src/bench/machine.ts'
import { measureAgent } from './agent.ts'
import { checkAgainst } from './check.ts'
import { type Growth, type GrowthResults, growthTable, measureGrowth } from './growth.ts'
import { writePage } from './page/page.ts'
import { missingChromium, takePicture } from './page/picture.ts'
import { peers } from './peers/index.ts'
import { publish } from './publish.ts'
import { lastRecorded, type Results, readJson, resultsFolder, writeJson } from './results.ts'
import { type Plan, runBench } from './run.ts'
import { scenarios } from './scenarios.ts'
import { chainTable, LiveTable, targetTable } from './terminal.ts'

interface Choices {
  readonly quick?: true
  readonly all?: true
  readonly check?: true
  readonly rounds?: string
  readonly seconds?: string
  readonly scenario?: readonly string[]
  readonly peer?: readonly string[]
  readonly out?: string
  readonly picture?: string
  readonly publish?: true
}

const pictureFile = fileURLToPath(new URL('../docs/bench.png', import.meta.url))

// Who waits for the targets waits no longer than this: what was measured by then is shown.
const limitMs = 25 * 60_000

const quick = { rounds: 3, memoryRounds: 0, fleet: 0, seconds: 1, idleSteps: [] } as const
const full = { rounds: 5, memoryRounds: 2, fleet: 50, seconds: 2, idleSteps: [1_000, 8_000] } as const

const program = new Command('bench')
  .description('What a hop costs with sidesplice and with its peers, on this machine.')
  .option('--quick', 'the main figures in a few short rounds, without memory')
  .option('--all', 'every scenario, not only those of the targets')
  .option('--check', 'compare ratios with the last recorded ones; fail beyond their spread')
  .option('--rounds <n>', 'how often each is measured')
  .option('--seconds <n>', 'how long each measurement takes')
  .addOption(
    new Option('--scenario <name...>', 'these alone').choices([
      ...scenarios.map(({ name }) => name),
      'growth',
      'agent',
    ]),
  )
  .addOption(new Option('--peer <name...>', 'these alone').choices(peers.map(({ name }) => name)))
  .option('--out <file>', 'where results go (JSON); a page stands beside it')
  .option('--picture <file>', 'a picture of the page (needs Chromium)')
  .option('--publish', 'no run: put the last recorded results into README.md and docs/')
  .parse()
const choices = program.opts<Choices>()

process.exitCode = await main()

async function main(): Promise<number> {
  const say = (text: string) => process.stdout.write(`${text}\n`)
  if (choices.publish) return publishLast()
  if (choices.scenario?.includes('growth')) return growth(choices)
  if (choices.scenario?.includes('agent')) return agent(choices)
  const recorded = choices.check ? lastRecorded('run') : undefined
  if (choices.check && recorded === undefined) program.error('--check: no results are recorded')
  const plan = planOf(choices)
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const progress = new LiveTable(process.stderr)
  const results = await runBench(plan, {
    onProgress: (step, so) => progress.show(step, so),
    signal: choices.all ? stop.signal : AbortSignal.any([stop.signal, AbortSignal.timeout(limitMs)]),
  })
  progress.clear()
  const { cpu, cores, kernel, node, openssl } = results.machine
  say(`\n${cpu}, ${cores} cores, Linux ${kernel}, Node ${node}, OpenSSL ${openssl}`)
  say(`${results.rounds.length} rounds; medians, below them the spread\n`)
  say(chainTable(results))
  say(`\n${targetTable(results)}\n`)
  if (!results.complete) say('the run was ended before all rounds were measured')
  for (const [name, why] of Object.entries(results.leftOut)) say(`left out: ${name}, ${why}`)
  for (const error of results.errors) say(`no result: ${error}`)
  const pageFile = plan.file.replace(/(\.json)?$/, '.html')
  writePage(results, pageFile)
  say(`results in ${plan.file}, the page in ${pageFile}`)
  if (choices.picture !== undefined) await picture(pageFile, choices.picture)
  const drifted = recorded === undefined ? [] : checkAgainst(readJson<Results>(recorded), results)
  for (const line of drifted) say(`worse than recorded: ${line}`)
  return !results.complete || results.errors.length > 0 || drifted.length > 0 ? 2 : 0
}

async function growth(choices: Choices): Promise<number> {
  const { quick: isQuick, rounds, seconds } = choices
  const base = isQuick ? quick : full
  const found = await measureGrowth({
    seconds: numberOf(seconds) ?? base.seconds,
    rounds: numberOf(rounds) ?? base.rounds,
    idleSteps: isQuick ? [500, 1_000] : [1_000, 2_000, 4_000, 8_000],
    upstreams: isQuick ? [1, 10, 100] : [1, 10, 100, 1_000],
    onProgress: what => process.stderr.write(`${what}\n`),
  })
  return tell('growth', found, choices)
}

async function agent(choices: Choices): Promise<number> {
  const { quick: isQuick, seconds } = choices
  const found = await measureAgent({
    seconds: numberOf(seconds) ?? (isQuick ? quick : full).seconds,
    services: isQuick ? [1, 100] : [1, 100, 1_000],
    changes: isQuick ? 20 : 200,
    proxies: isQuick ? 2 : 5,
    onProgress: what => process.stderr.write(`${what}\n`),
  })
  return tell('agent', found, choices)
}

/** A table of its own, beside a file of its own. */
function tell(kind: 'growth' | 'agent', found: readonly Growth[], { quick: isQuick, out }: Choices): number {
  const file = out ?? join(resultsFolder, `${isQuick ? 'quick-' : ''}${kind}-${timeOfNow()}.json`)
  const results: GrowthResults = {
    startedAt: new Date().toISOString(),
    command: commandLine(process.argv.slice(2)),
    machine: describeMachine(),
    growth: found,
  }
  writeJson(file, results)
  process.stdout.write(`${growthTable(found)}\nresults in ${file}\n`)
  return 0
}

async function publishLast(): Promise<number> {
  const [run, growth, ofAgent] = [lastRecorded('run'), lastRecorded('growth'), lastRecorded('agent')]
  if (run === undefined || growth === undefined || ofAgent === undefined)
    return program.error('--publish: got no recorded run, growth or agent, expected all three')
  const results = readJson<Results>(run)
  publish({
    results,
    growth: readJson<GrowthResults>(growth),
    agent: readJson<GrowthResults>(ofAgent),
  })
  const pageFile = run.replace(/\.json$/, '.html')
  writePage(results, pageFile)
  await picture(pageFile, pictureFile)
  return 0
}

async function picture(page: string, file: string): Promise<void> {
  const missing = missingChromium()
  if (missing !== undefined) return program.error(`--picture: ${missing}`)
  await takePicture(page, file)
}

function planOf({ quick: isQuick, all, rounds, seconds, scenario, peer, out }: Choices): Plan {
  const base = isQuick ? quick : full
  const chosen = scenarios.filter(({ name, main }) => scenario?.includes(name) ?? (all || main))
  return {
    peers: peers.filter(({ name }) => peer?.includes(name) ?? true),
    scenarios: chosen.filter(({ forMemory }) => !forMemory || base.memoryRounds > 0),
    rounds: numberOf(rounds) ?? base.rounds,
    memoryRounds: base.memoryRounds,
    fleet: scenario === undefined ? base.fleet : 0,
    length: { seconds: numberOf(seconds) ?? base.seconds, idleSteps: base.idleSteps },
    file: out ?? join(resultsFolder, `${isQuick ? 'quick' : 'run'}-${timeOfNow()}.json`),
    command: commandLine(process.argv.slice(2)),
  }
}

function timeOfNow(): string {
  return new Date().toISOString().slice(0, 19).replaceAll(':', '')
}

/** Without where files go, which makes no difference and is of one machine. */
function commandLine(args: readonly string[]): string {
  const places = ['--out', '--picture']
  const told = args.filter((word, at) => !places.includes(word) && !places.includes(args[at - 1] ?? ''))
  return told.length === 0 ? 'npm run bench' : `npm run bench -- ${told.join(' ')}`
}

function numberOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!(value > 0)) program.error(`got ${text}, expected a number above 0`)
  return value
}
