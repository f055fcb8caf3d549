// One short call of a command to its agent, and what a refusal becomes.
import type { Command } from 'commander'
import { SidespliceError } from '../../errors.ts'
import { type AgentValues, agentOptions, clientOptions } from '../agent-options.ts'
import { printable } from '../logger.ts'
import { type Column, table } from './table.ts'

export interface OperatorValues extends AgentValues {
  readonly json?: boolean
}

export interface Call {
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE'
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly body?: object
}

/** Asks the agent. @throws SidespliceError `agent_refused`, `agent_unreachable` */
export type Ask = <T>(call: Call) => Promise<T>

const answerMs = 30_000

export interface Output {
  /** Rows as a table, or as JSON where that is asked for. */
  rows<T extends object>(rows: readonly T[], columns: readonly Column<T>[]): void
  /** One line for people, or a value for programs. */
  done(line: string, value: object): void
}

/** Gives a command its options, and its action an agent to ask and a place to write to. */
export function operatorAction(
  command: Command,
  act: (ask: Ask, output: Output, ...args: readonly string[]) => Promise<void>,
): Command {
  command.option('--json', 'print JSON')
  for (const option of agentOptions()) command.addOption(option)
  return command.action(async (...given: readonly unknown[]) => {
    const values = command.opts<OperatorValues>()
    const args = given.slice(0, command.registeredArguments.length).map(arg => String(arg ?? ''))
    process.exitCode = await run(values, (ask, output) => act(ask, output, ...args))
    // Connections to the agent are kept open by the client.
    process.exit()
  })
}

async function run(
  values: OperatorValues,
  act: (ask: Ask, output: Output) => Promise<void>,
): Promise<number> {
  try {
    // Loaded here: a sidecar that knows no agent does without.
    const { ConsulClient } = await import('../../consul/client.ts')
    const client = new ConsulClient(clientOptions(values, process.env))
    await act(async call => {
      const answer = await client.send({ lane: 'short', timeoutMs: answerMs, ...call })
      if (answer.status === 200) return answer.body as never
      const said = typeof answer.body === 'string' ? answer.body.trim() : JSON.stringify(answer.body)
      throw new SidespliceError(`${call.method ?? 'GET'} ${call.path}: ${answer.status} ${said}`, {
        source: 'cli',
        code: 'agent_refused',
      })
    }, outputOf(values))
    return 0
  } catch (error) {
    if (!(error instanceof SidespliceError)) throw error
    process.stderr.write(`${error.message.split('\n').map(printable).join('\n')}\n`)
    return 1
  }
}

function outputOf({ json = false }: OperatorValues): Output {
  const print = (text: string) => process.stdout.write(`${text}\n`)
  return {
    rows: (rows, columns) => print(json ? JSON.stringify(rows, null, 2) : table(rows, columns)),
    done: (line, value) => print(json ? JSON.stringify(value, null, 2) : printable(line)),
  }
}
