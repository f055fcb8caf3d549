// Managed proxies of the embedded agent: from its catalog to what the supervisor is to run, with a token for each.
import { createHash } from 'node:crypto'
import { type Address, formatAddress } from '../address.ts'
import type { Row } from '../agent/rows.ts'
import type { ManagedProxySettings } from '../agent/settings.ts'
import { topicOf } from '../agent/topics.ts'
import type { World } from '../agent/world.ts'
import type { Log } from '../proxy/log.ts'
import type { ManagedProxy } from './managed-process.ts'
import { Supervisor } from './supervisor.ts'

export interface ManagedOfAgentOptions {
  readonly world: World
  readonly settings: ManagedProxySettings
  /** Without one proxies end with the agent. */
  readonly dataDir: string | undefined
  /** Where proxies reach the agent. */
  readonly http: Address
  /** `sidesplice` itself, as a command. */
  readonly program: readonly string[]
  readonly logLevel: string
  readonly log: Log
  /** Takes what proxies write where there is no folder. */
  readonly onLine?: (proxy: string, line: string) => void
}

// Consul's, for a program that is not ours.
const stopMs = 5_000
// Ours drains; then it is given as long again as any other.
const defaultDrainSeconds = 30
const longestMs = 2_147_483_647

export class ManagedOfAgent {
  readonly #options: ManagedOfAgentOptions
  readonly #supervisor: Supervisor
  readonly #stop = new AbortController()
  #told = false

  constructor(options: ManagedOfAgentOptions) {
    const { world, dataDir, log, onLine } = options
    const { tokens } = world
    this.#options = options
    this.#supervisor = new Supervisor({
      owner: world.node.id,
      dataDir,
      log,
      ...(onLine !== undefined && { onLine }),
      makeToken: async proxy => {
        dropTokens(proxy)
        return tokens.createForProxy(proxy)
      },
      knowsToken: accessor => tokens.get(accessor) !== undefined,
      dropTokens,
    })
    function dropTokens(proxy: string) {
      for (const { AccessorID, proxy: of } of tokens.list()) if (of === proxy) tokens.delete(AccessorID)
    }
  }

  /** Follows the catalog until it is closed. */
  async run(): Promise<void> {
    const { state } = this.#options.world
    const { signal } = this.#stop
    while (!signal.aborted) {
      const index = state.indexOf([topicOf.services])
      this.#supervisor.set(this.#wanted())
      this.#dropOrphanedTokens()
      await state.wait([topicOf.services], { index, ms: longestMs, signal })
    }
  }

  running(): ReadonlyMap<string, number> {
    return this.#supervisor.running()
  }

  close(): Promise<void> {
    this.#stop.abort()
    return this.#supervisor.close()
  }

  #wanted(): readonly ManagedProxy[] {
    const { world, log } = this.#options
    const rows = world.catalog.services().filter(row => row.managed !== undefined)
    const reason = rows.length === 0 ? undefined : this.#reasonAgainst()
    if (reason === undefined) return rows.map(row => this.#proxyOf(row))
    if (!this.#told) log.warn({ proxies: rows.length }, `managed proxies are not started: ${reason}`)
    this.#told = true
    return []
  }

  #reasonAgainst(): string | undefined {
    if (process.platform !== 'linux') return 'processes are found again by /proc, which only Linux has'
    if (process.geteuid?.() === 0 && !this.#options.settings.allowRoot)
      return 'running as root, and connect.proxy.allow_managed_root allows it alone'
    return undefined
  }

  #proxyOf(row: Row<'service'>): ManagedProxy {
    const { http, settings, program, logLevel } = this.#options
    const given = row.managed?.command ?? []
    const chosen = given.length > 0 ? given : settings.command
    // Consul's own command line in a definition means: the proxy that comes with the agent.
    const isBuiltIn = chosen.length === 0 || chosen.slice(0, 3).join(' ') === 'consul connect proxy'
    const command = isBuiltIn
      ? [...program, 'proxy', '--proxy-id', row.ID, '--log-level', logLevel, ...chosen.slice(3)]
      : chosen
    const environment = { CONSUL_HTTP_ADDR: `http://${formatAddress(http)}` }
    const fingerprint = createHash('sha256')
      .update(JSON.stringify([row.ID, command, environment]))
      .digest('hex')
    const drain = Number(row.Proxy?.Config?.drain ?? defaultDrainSeconds)
    const drainMs = isBuiltIn && drain >= 0 ? drain * 1_000 : 0
    return { id: row.ID, command, environment, fingerprint, stopMs: drainMs + stopMs }
  }

  /** Of proxies that went while the agent was away. */
  #dropOrphanedTokens(): void {
    const { tokens, state } = this.#options.world
    for (const { AccessorID, proxy } of tokens.list())
      if (proxy !== undefined && state.get('service', proxy) === undefined) tokens.delete(AccessorID)
  }
}
