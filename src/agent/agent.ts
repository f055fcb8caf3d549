// One embedded agent put together: state, catalog, CA, checks and API, and the definitions of its files applied by difference.
import { createServer } from 'node:net'
import type { Address } from '../address.ts'
import type { Json } from '../consul/shape.ts'
import { SidespliceError } from '../errors.ts'
import type { Log } from '../proxy/log.ts'
import { Authority } from './authority.ts'
import { Catalog } from './catalog.ts'
import { readCheck } from './check-definition.ts'
import { CheckRunner } from './check-runner.ts'
import type { Definition } from './config-files.ts'
import { memoryStore, openDatabase } from './database.ts'
import { type ApiServer, serveApi } from './http/server.ts'
import { readHttps } from './https.ts'
import { IntentionRules } from './intention-rules.ts'
import { Leaves } from './leaves.ts'
import { agentMetrics } from './metrics.ts'
import { readNode } from './node.ts'
import { Policies } from './policies.ts'
import { Queries } from './queries.ts'
import { Refusal } from './refusal.ts'
import { readService } from './service-definition.ts'
import type { AgentSettings } from './settings.ts'
import { State } from './state.ts'
import { Tokens } from './tokens.ts'
import type { World } from './world.ts'

// Retired roots are looked through this often.
const pruneMs = 3_600_000

export class EmbeddedAgent {
  readonly world: World
  readonly #settings: AgentSettings
  readonly #log: Log
  readonly #servers: ApiServer[] = []
  #prune: NodeJS.Timeout | undefined

  private constructor(world: World, settings: AgentSettings, log: Log) {
    this.world = world
    this.#settings = settings
    this.#log = log
  }

  /** @throws SidespliceError of the database */
  static async open(
    settings: AgentSettings,
    { log, version }: { readonly log: Log; readonly version: string },
  ): Promise<EmbeddedAgent> {
    const state = new State(settings.dataDir === undefined ? memoryStore : openDatabase(settings.dataDir))
    const node = readNode(state, settings.node)
    const authority = new Authority(state)
    await authority.start(settings.authority)
    const { sidecarPorts, managedPorts } = settings
    const ownPorts = [
      settings.http.port,
      ...(settings.https === undefined ? [] : [settings.https.address.port]),
    ]
    const catalog = new Catalog({ state, sidecarPorts, managedPorts, ownPorts, isFree })
    const policies = new Policies({ state, datacenter: node.datacenter, since: node.index })
    const world: World = {
      ...{ state, node, catalog, authority, policies },
      checks: new CheckRunner({ state, catalog, log }),
      intentions: new IntentionRules(state),
      leaves: new Leaves({ state, authority, datacenter: node.datacenter }),
      tokens: new Tokens({ state, policies, settings: settings.access, node: node.name }),
      queries: new Queries(state),
      version,
      metrics: settings.metrics ? agentMetrics({ state, version }) : undefined,
      managed: { allowApiRegistration: settings.managed.allowApiRegistration },
    }
    return new EmbeddedAgent(world, settings, log)
  }

  /** @throws SidespliceError `agent_bind_failed`, `agent_tls_failed` */
  async serve(): Promise<{ readonly http: Address; readonly https: Address | undefined }> {
    const { http, https } = this.#settings
    const log = this.#log
    const tls = https === undefined ? undefined : readHttps(https)
    const plain = await serveApi(this.world, http, { log })
    this.#servers.push(plain)
    if (https !== undefined && tls !== undefined)
      this.#servers.push(await serveApi(this.world, https.address, { log, tls }))
    void this.world.checks.run()
    this.#prune = setInterval(() => this.world.authority.prune(), pruneMs)
    return { http: plain.address, https: this.#servers[1]?.address }
  }

  /**
   * Reads the certificates of the API again; connections that stand go on.
   * @throws SidespliceError `agent_tls_failed`: then those of before stay
   */
  renewCertificates(): void {
    const { https } = this.#settings
    if (https === undefined) return
    const context = readHttps(https)
    for (const server of this.#servers) server.setContext(context)
  }

  /**
   * Makes what files define what is registered: what is new or changed is registered, what they no longer have goes, everything else stays
   * as it is. A definition that is refused is said, and leaves the rest alone.
   */
  async apply(definitions: readonly Definition[]): Promise<AppliedDefinitions> {
    const { catalog, state } = this.world
    const kept = new Set<string>()
    const keptChecks = new Set<string>()
    const refused: string[] = []
    for (const { kind, body, where } of definitions) {
      try {
        if (kind === 'service') {
          const strange = body.TokenFile === undefined ? body.Login && 'login' : 'token_file'
          if (strange !== undefined)
            throw new Refusal(
              400,
              `${strange}: got it, expected it in a configuration of sidesplice manage alone`,
            )
          const expanded = readService(this.#withDefaults(body), 'file')
          for (const { service } of expanded) kept.add(service.ID)
          await catalog.register(expanded, { replaceChecks: true })
        } else keptChecks.add(this.#registerCheck(body))
      } catch (error) {
        if (!(error instanceof SidespliceError)) throw error
        // Whatever was registered by it before stays.
        const id = String(body.ID ?? body.Name ?? '')
        for (const kin of [id, `${id}-sidecar-proxy`, `${id}-proxy`]) kept.add(kin)
        keptChecks.add(id)
        refused.push(`${where}: ${error.message.trim()}`)
      }
    }
    const gone = catalog.services('file').filter(row => !kept.has(row.ID) && row.parent === undefined)
    for (const { ID } of gone) catalog.deregister(ID)
    for (const check of state.all('check'))
      if (check.origin === 'file' && !check.ofDefinition && !keptChecks.has(check.CheckID))
        catalog.deregisterCheck(check.CheckID)
    return { registered: [...kept], deregistered: gone.map(({ ID }) => ID), refused }
  }

  async close(): Promise<void> {
    clearInterval(this.#prune)
    this.world.checks.close()
    for (const server of this.#servers) await server.close()
    this.world.state.close()
  }

  #registerCheck(body: Json): string {
    const id = String(body.ServiceID ?? '')
    const service = id === '' ? undefined : this.world.state.get('service', id)
    if (id !== '' && service === undefined) throw new Refusal(400, `ServiceID "${id}" does not exist`)
    const name = String(body.Name ?? '')
    if (name === '') throw new Refusal(400, 'Missing check name')
    const check = readCheck(body, { service, origin: 'file', ofDefinition: false, id: name })
    this.world.catalog.putCheck(check)
    return check.CheckID
  }

  /** `proxy_defaults` below a managed proxy's own settings. */
  #withDefaults(body: Json): Json {
    const connect = (body.Connect ?? {}) as Json
    if (connect.Proxy === undefined) return body
    const proxy = connect.Proxy as Json
    const { config } = this.#settings.managed
    return {
      ...body,
      Connect: { ...connect, Proxy: { ...proxy, Config: { ...config, ...((proxy.Config ?? {}) as Json) } } },
    }
  }
}

export interface AppliedDefinitions {
  readonly registered: readonly string[]
  readonly deregistered: readonly string[]
  /** Where, and why. */
  readonly refused: readonly string[]
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
