// The desired state from a Consul agent, for a registered proxy or for one that flags describe.
import type { ProcessSettings } from '../config/config.ts'
import type { RegistrationReader } from '../config/registration.ts'
import { askAgentBy } from '../consul/authorize.ts'
import type { ConsulClient } from '../consul/client.ts'
import { type FindProxyOptions, findProxy, nameOf } from '../consul/find-proxy.ts'
import { SelfRegistration, type SelfRegistrationOptions } from '../consul/self-registration.ts'
import type { ProxyService } from '../consul/wire.ts'
import { SidespliceError } from '../errors.ts'
import type { Log } from '../proxy/log.ts'
import { Mesh, type Registration } from '../proxy/mesh.ts'
import type { StateSource } from './source.ts'

/** A registered proxy, to be found, or one that is described by flags and may register itself. */
export type ProxyOptions =
  | { readonly wanted: FindProxyOptions['wanted']; readonly waitMs: number }
  | {
      readonly fixed: ProxyService
      readonly register?: Pick<SelfRegistrationOptions, 'service' | 'suffix' | 'listen'>
    }

export interface MeshSourceOptions {
  readonly client: ConsulClient
  readonly agent: string
  readonly proxy: ProxyOptions
  readonly settings: ProcessSettings
  readonly reader: RegistrationReader
  readonly log: Log
}

export function meshSource(options: MeshSourceOptions): StateSource {
  const { client, agent, proxy, settings, reader, log } = options
  const stop = new AbortController()
  let mesh: Mesh | undefined
  let own: SelfRegistration | undefined
  return {
    settings: () => ({ ...settings, ...drainOf(mesh) }),
    askAgent: askAgentBy(client),
    missing: () => mesh?.missing() ?? ['registration'],
    notices: () => mesh?.notices() ?? [],
    watchAges: () => mesh?.watchAges() ?? new Map(),
    async start(onState, _onReload, missing) {
      const registration = 'fixed' in proxy ? proxy : await find(proxy)
      // Found while a stop is under way: nothing begins any more.
      if (registration === undefined || stop.signal.aborted) return
      if ('fixed' in proxy && proxy.register !== undefined) own = selfRegistration(proxy.register, missing)
      mesh = new Mesh({
        client,
        registration,
        reader,
        log,
        onState: state =>
          void onState(state)
            .catch(reportRefusal)
            .then(() => own?.wake()),
      })
      mesh.start()
      own?.start()
    },
    noteSession({ listener, attempts }) {
      if (attempts.some(({ outcome }) => outcome !== 'connected')) mesh?.wakeUpstream(listener)
    },
    async stopping() {
      stop.abort()
      await own?.end().then(
        () => log.info({ proxy_id: own?.id }, 'registration taken back'),
        (error: unknown) =>
          log.warn({ proxy_id: own?.id, error: String(error) }, 'the registration can not be taken back'),
      )
    },
    async close() {
      stop.abort()
      await own?.end().catch(() => {})
      await mesh?.close()
      await client.close()
    },
  }

  async function find({
    wanted,
    waitMs,
  }: Extract<ProxyOptions, { readonly waitMs: number }>): Promise<Registration | undefined> {
    const onWaiting: FindProxyOptions['onWaiting'] = seen => {
      const why = 'error' in seen ? { error: seen.error.message } : { services_seen: seen.services }
      log.warn(
        { wanted: nameOf(wanted), agent, ...why },
        'waiting for the registration; a token without rights hides it',
      )
    }
    try {
      const proxyId = await findProxy({ client, wanted, waitMs, onWaiting, signal: stop.signal })
      log.info({ proxy_id: proxyId, agent }, 'registration found')
      return { proxyId }
    } catch (error) {
      if (stop.signal.aborted) return undefined
      throw error
    }
  }

  function selfRegistration(
    register: Pick<SelfRegistrationOptions, 'service' | 'suffix' | 'listen'>,
    missing: () => readonly string[],
  ): SelfRegistration {
    const made = new SelfRegistration({
      ...register,
      client,
      missing,
      onRegistered: because =>
        log.info({ proxy_id: made.id, agent, agent_had: because }, 'registered with the agent'),
      onFailure: error =>
        log.warn(
          { proxy_id: made.id, error: error.message },
          'the registration can not be kept, trying again; peers may not find this proxy',
        ),
    })
    return made
  }

  function reportRefusal(error: unknown): void {
    const code = error instanceof SidespliceError ? error.code : String(error)
    log.error({ error: code }, 'what the agent says can not be applied')
  }
}

function drainOf(mesh: Mesh | undefined): Partial<Pick<ProcessSettings, 'drainMs' | 'drainDelayMs'>> {
  const registered = mesh?.drainSettings()
  return registered === undefined
    ? {}
    : { drainMs: registered.drainMs, drainDelayMs: registered.drainDelayMs }
}
