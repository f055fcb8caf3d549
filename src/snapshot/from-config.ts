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
        authorization: { by: 'allow' as const, allow: inbound.allow },
        endDeniedSessions: true,
        handshakeTimeoutMs: inbound.handshakeTimeoutMs,
        localConnectTimeoutMs: inbound.localConnectTimeoutMs,
        halfCloseTimeoutMs: inbound.halfCloseTimeoutMs,
        idleTimeoutMs: inbound.idleTimeoutMs,
      },
    }),
    upstreams: config.upstreams.map(({ endpoints, expect, ...upstream }) => {
      // A name may stand more than once, on ports of their own: then the port is part of the listener's key.
      const key =
        times(upstream.name) > 1
          ? `upstream:${upstream.name}@${formatAddress(upstream.bind)}`
          : `upstream:${upstream.name}`
      return { key, ...upstream, endpoints: endpoints.map(address => ({ address, expect, weight: 1 })) }
    }),
  })
}

/** What can never match: worth a warning, since it is a rule without effect. */
export function uselessRules(state: DesiredState): readonly string[] {
  const own = state.identity.leaf.id.trustDomain
  const foreign = ({ trustDomain }: { readonly trustDomain: string }) => trustDomain !== own
  const authorization = state.inbound?.authorization
  const allow = authorization?.by === 'allow' ? authorization.allow : []
  const expected = state.upstreams.flatMap(({ name, endpoints }) =>
    endpoints.flatMap(({ expect }) => expect.filter(foreign).map(id => `upstream ${name}: expect ${id.uri}`)),
  )
  return [...allow.filter(foreign).map(pattern => `allow ${formatPattern(pattern)}`), ...new Set(expected)]
}
