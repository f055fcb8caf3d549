// Consul's built-in proxy as its users start it: `consul connect proxy` of the binary that the agent runs from.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import type { TestContext } from 'node:test'
import { Command } from './command.ts'
import { consulBinary } from './consul-binary.ts'
import { listeningPorts } from './listening.ts'
import { until } from './until.ts'

// It tries again 5 s after a failed watch, then after 20 s.
const retryLimitMs = 60_000

export class BuiltIn extends Command {
  /** Waits for its certificates; its public listener is opened after that. */
  async ready(publicPort: number): Promise<void> {
    await this.line('Proxy loaded config and ready to serve')
    await this.listens(publicPort)
  }

  listens(port: number): Promise<true> {
    return until(
      () => this.ports.includes(port) && true,
      `port ${port} of the built-in:\n${this.stdout}`,
      retryLimitMs,
    )
  }

  /** Waits for the `count`th registration that it has read; the first is that of the start. */
  async takes(count: number): Promise<void> {
    await until(
      () => this.linesWith('got new config').length >= count,
      `registration ${count} at the built-in:\n${this.stdout}`,
      retryLimitMs,
    )
  }

  /** Stops it where it is. The signal is taken up by each of its threads in its own time: until then one may still answer. */
  async standStill(): Promise<void> {
    this.signal('SIGSTOP')
    const tasks = `/proc/${this.pid}/task`
    // proc(5): the state stands behind the name, which is in brackets.
    const stopped = (task: string) =>
      readFileSync(`${tasks}/${task}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .startsWith('T')
    await until(() => readdirSync(tasks).every(stopped), 'the built-in to stand still')
  }

  get ports(): readonly number[] {
    return listeningPorts(this.pid)
  }
}

/** Starts it without waiting for anything; it is gone after the test. */
export function startBuiltIn(
  t: TestContext,
  agent: { readonly address: string },
  args: readonly string[],
): BuiltIn {
  // What stands in the environment of who runs the tests is not meant for it.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(CONSUL|CONNECT)_/.test(name)),
  )
  const all = ['connect', 'proxy', '-http-addr', agent.address, '-log-level', 'debug', ...args]
  const builtIn = new BuiltIn(spawn(consulBinary, all, { stdio: ['ignore', 'pipe', 'pipe'], env }))
  t.after(async () => {
    if (builtIn.ended === undefined) builtIn.signal('SIGKILL')
    await builtIn.end()
  })
  return builtIn
}
