// Managed proxies beside a real Consul agent: sidecars are registered for the services that are configured, or that ask for one; each is
// given a token, started and minded. What the agent says is looked at every few seconds, so that its restart, or somebody's hand, is put right.
import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { Definition } from '../agent/config-files.ts'
import { managedProxy } from '../agent/managed-definition.ts'
import type { Expanded } from '../agent/proxy-block.ts'
import { readService } from '../agent/service-definition.ts'
import type { ConsulClient } from '../consul/client.ts'
import { SidespliceError } from '../errors.ts'
import type { Log } from '../proxy/log.ts'
import { ConsulAgentCalls, type RegisteredService } from './consul-agent.ts'
import { LoginTokens } from './login-tokens.ts'
import type { GivenToken, ManagedProxy } from './managed-process.ts'
import { findProcesses } from './processes.ts'
import { type Login, ProxyTokens, type ProxyTokensOptions } from './proxy-tokens.ts'
import {
  askingKey,
  definitionHash,
  definitionKey,
  ownerKey,
  registrationOf,
  sidecarIdOf,
} from './sidecar-registration.ts'
import { Supervisor } from './supervisor.ts'

export interface ManagedOfConsulOptions {
  readonly client: ConsulClient
  readonly owner: string
  readonly dataDir: string | undefined
  readonly definitions: readonly Definition[]
  readonly fromMetadata: boolean
  readonly makeTokens: boolean
  /** By the ID of the service, as the next. */
  readonly tokenFiles: ReadonlyMap<string, string>
  readonly logins: ReadonlyMap<string, Login>
  /** Calls made with another token than ours, or with none. */
  readonly as: ProxyTokensOptions['as']
  /** Variables by which proxies reach the agent. */
  readonly environment: Readonly<Record<string, string>>
  readonly program: readonly string[]
  readonly logLevel: string
  readonly choosePort: (taken: ReadonlySet<number>) => Promise<number>
  readonly log: Log
}

interface Wanted {
  readonly id: string
  readonly name: string
  readonly expanded: Expanded
  /** Of the operator's own configuration alone: nobody who may register a service names a program. */
  readonly command: readonly string[]
}

const lookMs = 2_000
const stopMs = 35_000
// limits.http_max_conns_per_client, and what one proxy holds beside one for each upstream (consul/client.ts).
const [mostConnections, ofProxy, warnShare] = [200, 6, 0.8]

export class ManagedOfConsul {
  readonly #options: ManagedOfConsulOptions
  readonly #calls: ConsulAgentCalls
  readonly #supervisor: Supervisor
  readonly #tokens: ProxyTokens
  readonly #loginTokens: LoginTokens
  readonly #wantedById = new Map<string, Wanted>()
  #failing = ''
  #warned = false
  #definitions: readonly Definition[]

  constructor(options: ManagedOfConsulOptions) {
    const { owner, dataDir, log, client } = options
    this.#options = options
    this.#definitions = options.definitions
    this.#calls = new ConsulAgentCalls(client)
    this.#tokens = new ProxyTokens({
      ...{ calls: this.#calls, owner, log, makeTokens: options.makeTokens },
      as: options.as,
    })
    this.#loginTokens = new LoginTokens({ dataDir, log, as: options.as })
    this.#supervisor = new Supervisor({
      ...{ owner, dataDir, log },
      makeToken: proxy => this.#makeToken(proxy),
      knowsToken: accessor => this.#tokens.knows(accessor),
      // Found and deleted at the next look, which also finds those of a supervisor that was killed.
      dropTokens: () => {},
    })
  }

  /** Until the signal comes. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.look()
      // Cut short where we are to stop.
      await setTimeout(lookMs, undefined, { signal }).catch(() => {})
    }
    await this.#supervisor.close()
    if (this.#options.dataDir === undefined) await this.#leave()
  }

  setDefinitions(definitions: readonly Definition[]): void {
    this.#definitions = definitions
  }

  /** What the agent has, made what it should have. An agent that does not answer changes nothing. */
  async look(): Promise<void> {
    const { log } = this.#options
    try {
      const services = await this.#calls.services()
      await this.#tokens.tend()
      const proxies = await this.#registerAll(services)
      await this.#tendLogins()
      this.#supervisor.set(proxies)
      if (this.#failing !== '') log.info({}, 'the agent answers again')
      this.#failing = ''
    } catch (error) {
      if (!(error instanceof SidespliceError)) throw error
      if (this.#failing !== error.message)
        log.warn({ error: error.message }, 'the agent can not be asked; proxies go on as they are')
      this.#failing = error.message
    }
  }

  /** Without a folder nobody will know later what was ours. */
  async #leave(): Promise<void> {
    try {
      this.#tokens.settle()
      await this.#tokens.tend()
      this.#wantedById.clear()
      await this.#tendLogins()
      this.#loginTokens.close()
      for (const { id, meta } of (await this.#calls.services()).values())
        if (meta[ownerKey] === this.#options.owner) await this.#calls.deregister(id)
    } catch (error) {
      this.#options.log.warn(
        { error: String(error) },
        'registrations and tokens of the proxies may be left on the agent',
      )
    }
  }

  async #registerAll(services: ReadonlyMap<string, RegisteredService>): Promise<readonly ManagedProxy[]> {
    const { owner } = this.#options
    const wanted = [...this.#configured(), ...this.#asking(services)]
    this.#wantedById.clear()
    for (const one of wanted) this.#wantedById.set(sidecarIdOf(one.id), one)
    for (const service of services.values())
      if (service.meta[ownerKey] === owner && !this.#wantedById.has(service.id))
        await this.#calls.deregister(service.id)
    const taken = new Set([...services.values()].map(({ port }) => port))
    for (const [id, { expanded }] of this.#wantedById) {
      const there = services.get(id)
      // A sidecar that somebody else has registered is theirs to describe; it is only run here.
      const theirs = there !== undefined && there.meta[ownerKey] === undefined
      const same = there?.meta[ownerKey] === owner && there.meta[definitionKey] === definitionHash(expanded)
      if (theirs || same) continue
      const port = expanded.service.Port || there?.port || (await this.#options.choosePort(taken))
      taken.add(port)
      await this.#calls.register(registrationOf(expanded, { port, owner }))
      this.#options.log.info({ proxy: id, port }, 'sidecar registered')
    }
    this.#countConnections(services)
    return [...this.#wantedById].map(([id, one]) => this.#proxyOf(id, one))
  }

  #configured(): readonly Wanted[] {
    return this.#definitions.map(({ body }) => {
      const [own, proxy] = readService(body, 'file')
      if (own === undefined || proxy?.service.managed === undefined)
        throw new Error('a definition without connect.proxy')
      const { ID: id, Service: name } = own.service
      return { id, name, expanded: proxy, command: proxy.service.managed.command }
    })
  }

  #asking(services: ReadonlyMap<string, RegisteredService>): readonly Wanted[] {
    if (!this.#options.fromMetadata) return []
    return [...services.values()]
      .filter(({ kind, meta }) => kind === '' && meta[askingKey] === 'true')
      .flatMap(({ id, name, port }) => {
        const [own] = readService({ ID: id, Name: name, Port: port }, 'api')
        return own === undefined ? [] : [{ id, name, expanded: managedProxy({}, own.service), command: [] }]
      })
  }

  #proxyOf(id: string, wanted: Wanted): ManagedProxy {
    const { program, logLevel, environment, tokenFiles } = this.#options
    const { id: service, command } = wanted
    const file =
      tokenFiles.get(service) ??
      (this.#renewedLogin(wanted) === undefined ? undefined : this.#loginTokens.pathOf(id))
    const line =
      command.length > 0
        ? command
        : [
            ...program,
            'proxy',
            '--proxy-id',
            id,
            '--log-level',
            logLevel,
            ...(file === undefined ? [] : ['--token-file', file]),
          ]
    const fingerprint = createHash('sha256')
      .update(JSON.stringify([id, line, environment]))
      .digest('hex')
    return { id, command: line, environment, fingerprint, stopMs }
  }

  async #makeToken(proxy: string): Promise<GivenToken | undefined> {
    const wanted = this.#wantedById.get(proxy)
    if (wanted === undefined || this.#options.tokenFiles.has(wanted.id)) return undefined
    const renewed = this.#renewedLogin(wanted)
    if (renewed !== undefined) {
      await this.#loginTokens.ensure(proxy, renewed)
      return undefined
    }
    return this.#tokens.make({ proxy, service: wanted.name, login: this.#options.logins.get(wanted.id) })
  }

  /** Another program than ours reads its token once: it keeps the one that it was started with. */
  #renewedLogin({ id, command }: Wanted): Login | undefined {
    if (command.length > 0 || this.#options.tokenFiles.has(id)) return undefined
    return this.#options.logins.get(id)
  }

  async #tendLogins(): Promise<void> {
    const wanted = new Map(
      [...this.#wantedById].flatMap(([id, one]) => {
        const login = this.#renewedLogin(one)
        return login === undefined ? [] : [[id, login] as const]
      }),
    )
    const live = new Set(findProcesses(this.#options.owner).map(({ mark }) => mark.proxy))
    await this.#loginTokens.tend(wanted, live)
  }

  /** All of one address share a bound; the connection beyond it is reset. */
  #countConnections(services: ReadonlyMap<string, RegisteredService>): void {
    const each = [...this.#wantedById.keys()].map(id => ofProxy + (services.get(id)?.upstreams ?? 0))
    const connections = each.reduce((sum, one) => sum + one, 1)
    const near = connections > mostConnections * warnShare
    if (near && !this.#warned)
      this.#options.log.warn(
        { connections, of: mostConnections, proxies: each.length },
        "the proxies may hold as many connections to the agent as it allows one client: raise limits.http_max_conns_per_client in Consul's configuration",
      )
    this.#warned = near
  }
}
