// The modes that ask an agent: a registration, or flags. Loaded where one of them was chosen.
import { type ProcessSettings, processSettings } from '../config/config.ts'
import { RegistrationReader } from '../config/registration.ts'
import { ConsulClient } from '../consul/client.ts'
import { clientOptions } from './agent-options.ts'
import { overRegistration } from './authorization-flag.ts'
import { readFlags } from './flag-mode.ts'
import { meshSource, type ProxyOptions } from './mesh-source.ts'
import type { Given, Prepared } from './modes.ts'
import { parseWait } from './wait.ts'

/** @throws SidespliceError `usage` and what is wrong with the agent's options */
export function prepareRegistered(
  wanted: { readonly sidecarFor: string } | { readonly proxyId: string },
  given: Given,
): Prepared {
  const proxy = { wanted, waitMs: parseWait(given.values.wait ?? '60s') }
  return prepareMesh({ proxy, settings: processSettings(given.overrides), lines: [] }, given)
}

/** @throws ConfigError, SidespliceError as above */
export function prepareFlags(service: string, given: Given): Prepared {
  const { values, overrides } = given
  const { settings, proxy, listen, lines } = readFlags(service, values, overrides)
  const suffix = values.registerId || undefined
  const register = { service, ...(suffix !== undefined && { suffix }) }
  const prepared = prepareMesh(
    {
      proxy: {
        fixed: proxy,
        ...(values.register === true && listen !== undefined && { register: { ...register, listen } }),
      },
      settings,
      lines: [`Service: ${service}`, ...lines],
    },
    given,
  )
  if (listen !== undefined || proxy.upstreams.length > 0) return prepared
  const idle = {
    fields: { service },
    message: 'neither --listen nor --upstream: there is nothing to listen for',
  }
  return { ...prepared, warnings: [idle] }
}

function prepareMesh(
  {
    proxy,
    settings,
    lines,
  }: {
    readonly proxy: ProxyOptions
    readonly settings: ProcessSettings
    /** What is known of its listeners before the agent is asked. */
    readonly lines: readonly string[]
  },
  { values, overrides, env }: Given,
): Prepared {
  const flags = overRegistration(values, overrides)
  const client = clientOptions(values, env)
  const agent = client.address.socketPath ?? client.address.origin
  return {
    settings,
    summary: [`options are good; agent ${agent}`, ...lines].join('\n'),
    warnings: [],
    source: log => {
      for (const line of lines) log.info({}, line)
      return meshSource({
        client: new ConsulClient(client),
        agent,
        proxy,
        settings,
        reader: new RegistrationReader(flags, message => log.warn({}, message)),
        log,
      })
    },
  }
}
