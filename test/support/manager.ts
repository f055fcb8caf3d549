// `sidesplice manage` as a process of a test's own, which may be killed and started again on the same folder.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { findProcesses } from '../../src/managed/processes.ts'
import { type Command, run } from './command.ts'
import type { ConsulAgent } from './consul-agent.ts'
import { connect, echo, openApp } from './ends.ts'
import { freePort } from './free-ports.ts'
import { eventually } from './running-sidecar.ts'

export class Manager {
  readonly folder: string
  readonly #start: () => Command
  command: Command

  constructor(
    t: TestContext,
    { agent, token, args }: { agent: ConsulAgent; token?: string; args: readonly string[] },
    config?: object,
  ) {
    this.folder = mkdtempSync(join(tmpdir(), 'sidesplice-manage-'))
    t.after(() => {
      for (const { pid } of findProcesses(this.owner)) process.kill(pid, 'SIGKILL')
      rmSync(this.folder, { recursive: true, force: true })
    })
    if (config !== undefined) this.write(config)
    const all = [...args, ...(config === undefined ? [] : ['--config', join(this.folder, 'manage.json')])]
    this.#start = () =>
      run(t, ['manage', '--http-addr', agent.address, '--data-dir', join(this.folder, 'state'), ...all], {
        env: { CONSUL_HTTP_TOKEN: token ?? '' },
      })
    this.command = this.#start()
  }

  write(config: object): void {
    writeFileSync(join(this.folder, 'manage.json'), JSON.stringify(config))
  }

  get owner(): string {
    try {
      return readFileSync(join(this.folder, 'state', 'manager-id'), 'utf8').trim()
    } catch {
      return 'none yet'
    }
  }

  pids(): ReadonlyMap<string, number> {
    return new Map(
      findProcesses(this.owner).flatMap(({ leads, pid, mark }) => (leads ? [[mark.proxy, pid]] : [])),
    )
  }

  async kill(): Promise<void> {
    this.command.signal('SIGKILL')
    await this.command.end()
  }

  startAgain(): void {
    this.command = this.#start()
  }
}

/** How many tokens there are that a supervisor has made. */
export const madeTokens = async (agent: ConsulAgent) =>
  (await agent.call<{ Description: string }[]>('GET', '/v1/acl/tokens')).filter(({ Description }) =>
    Description.startsWith('sidesplice manage'),
  ).length

/** Two services of an agent, as a supervisor's configuration has them; web reaches db by an upstream. */
export async function services(t: TestContext, agent: ConsulAgent) {
  const app = await openApp(t, { serve: echo })
  const [upstream, webApp] = [await freePort(), await freePort()]
  const again = async () => {
    await agent.register({ Name: 'db', Port: app.address.port })
    await agent.register({ Name: 'web', Port: webApp.port })
  }
  await again()
  const drain = { config: { drain: 1 } }
  const db = { name: 'db', port: app.address.port, connect: { proxy: drain } }
  const upstreams = [{ destination_name: 'db', local_bind_port: upstream.port }]
  const web = { name: 'web', port: webApp.port, connect: { proxy: { ...drain, upstreams } } }
  const carries = () =>
    eventually(
      async () =>
        connect(t, upstream)
          .echoes('through both')
          .then(
            () => true as const,
            () => undefined,
          ),
      'traffic through both',
      40_000,
    )
  return { db, web, upstream, carries, again }
}
