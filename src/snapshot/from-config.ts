// From a configuration file's typed values and its certificates to the desired state.

import { formatAddress } from '../address.ts'
import type { Config } from '../config/config.ts'
import type { Identity } from '../identity/identity.ts'
import { formatPattern } from '../identity/spiffe-id.ts'
import type { DesiredState } from './snapshot.ts'

export function desiredState(config: Config, identity: Identity): DesiredState {
  const { inbound } = config
  const times = (name: string) => config.upstreams.filter(upstream => upstream.name === name).length
  return Object.freeze({
    service: config.service,
    identity,
    ...(inbound !== undefined && {
      inbound: {
        key: 'public',
        bind: inbound.listen,
        localApp: inbound.localService,
        allow: inbound.allow,
        handshakeTimeoutMs: inbound.handshakeTimeoutMs,
        localConnectTimeoutMs: inbound.localConnectTimeoutMs,
        halfCloseTimeoutMs: inbound.halfCloseTimeoutMs,
        idleTimeoutMs: inbound.idleTimeoutMs,
      },
    }),
    upstreams: config.upstreams.map(upstream => {
      // A name may stand more than once, on ports of their own: then the port is part of the listener's key.
      const key =
        times(upstream.name) > 1
          ? `upstream:${upstream.name}@${formatAddress(upstream.bind)}`
          : `upstream:${upstream.name}`
      return { key, ...upstream }
    }),
  })
}

/** What can never match: worth a warning, since it is a rule without effect. */
export function uselessRules(state: DesiredState): readonly string[] {
  const own = state.identity.leaf.id.trustDomain
  const foreign = (trustDomain: string) => trustDomain !== own
  return [
    ...(state.inbound?.allow ?? [])
      .filter(({ trustDomain }) => foreign(trustDomain))
      .map(pattern => `allow ${formatPattern(pattern)}`),
    ...state.upstreams.flatMap(({ name, expect }) =>
      expect
        .filter(({ trustDomain }) => foreign(trustDomain))
        .map(id => `upstream ${name}: expect ${id.uri}`),
    ),
  ]
}
