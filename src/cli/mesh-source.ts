// The desired state from a Consul agent, for a registered proxy.
import type { ProcessSettings } from '../config/config.ts'
import type { RegistrationReader } from '../config/registration.ts'
import { askAgentBy } from '../consul/authorize.ts'
import type { ConsulClient } from '../consul/client.ts'
import { type FindProxyOptions, findProxy, nameOf } from '../consul/find-proxy.ts'
import { SidespliceError } from '../errors.ts'
import type { Log } from '../proxy/log.ts'
import { Mesh } from '../proxy/mesh.ts'
import type { StateSource } from './source.ts'

export interface MeshSourceOptions {
  readonly client: ConsulClient
  readonly agent: string
  readonly wanted: FindProxyOptions['wanted']
  readonly waitMs: number
  readonly settings: ProcessSettings
  readonly reader: RegistrationReader
  readonly log: Log
}

export function meshSource(options: MeshSourceOptions): StateSource {
  const { client, agent, wanted, waitMs, settings, reader, log } = options
  const stop = new AbortController()
  let mesh: Mesh | undefined
  return {
    settings: () => ({ ...settings, ...drainOf(mesh) }),
    askAgent: askAgentBy(client),
    missing: () => mesh?.missing() ?? ['registration'],
    notices: () => mesh?.notices() ?? [],
    watchAges: () => mesh?.watchAges() ?? new Map(),
    async start(onState) {
      const onWaiting: FindProxyOptions['onWaiting'] = seen => {
        const why = 'error' in seen ? { error: seen.error.message } : { services_seen: seen.services }
        log.warn(
          { wanted: nameOf(wanted), agent, ...why },
          'waiting for the registration; a token without rights hides it',
        )
      }
      const proxyId = await findProxy({ client, wanted, waitMs, onWaiting, signal: stop.signal }).catch(
        (error: unknown) => {
          if (stop.signal.aborted) return undefined
          throw error
        },
      )
      if (proxyId === undefined) return
      log.info({ proxy_id: proxyId, agent }, 'registration found')
      mesh = new Mesh({
        client,
        proxyId,
        reader,
        log,
        onState: state => void onState(state).catch(reportRefusal),
      })
      mesh.start()
    },
    noteSession({ listener, attempts }) {
      if (attempts.some(({ outcome }) => outcome !== 'connected')) mesh?.wakeUpstream(listener)
    },
    stopping: async () => {},
    async close() {
      stop.abort()
      await mesh?.close()
      await client.close()
    },
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
