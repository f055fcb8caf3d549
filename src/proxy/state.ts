// What /state and /sessions show, without secrets, in the words of the file and the log.
import { formatAddress } from '../address.ts'
import type { Authorization } from '../authorization/authorization.ts'
import { describeRule } from '../authorization/intentions.ts'
import type { SessionView } from '../data-plane/interface.ts'
import { formatPattern } from '../identity/spiffe-id.ts'
import type { Sidecar } from './sidecar.ts'

/** Plain data for JSON; no key, no certificate text. */
export function describeState(sidecar: Sidecar, notDone: readonly string[]): object {
  const { snapshot } = sidecar
  const listeners = sidecar.listeners().map(({ key, direction, name, bind, error }) => ({
    key,
    direction,
    service: name,
    address: formatAddress(bind),
    ...(error !== undefined && { error }),
  }))
  const common = {
    ready: sidecar.missing().length === 0,
    missing: sidecar.missing(),
    not_done: notDone,
    data_plane: sidecar.dataPlaneName,
    relay: sidecar.relay,
    listeners,
  }
  if (snapshot === undefined) return common
  const { leaf, trust } = snapshot.identity
  return {
    ...common,
    generation: snapshot.generation,
    service: snapshot.service,
    identity: {
      id: leaf.id.uri,
      serial: leaf.serial,
      not_before: new Date(leaf.notBeforeAt).toISOString(),
      not_after: new Date(leaf.notAfterAt).toISOString(),
      roots: trust.roots.map(root => ({
        subject: root.subject,
        fingerprint: root.fingerprint256,
        not_after: new Date(root.validTo).toISOString(),
      })),
    },
    ...(snapshot.inbound !== undefined && {
      inbound: {
        listen: formatAddress(snapshot.inbound.bind),
        local_service_address: formatAddress(snapshot.inbound.localApp),
        ...describeAuthorization(snapshot.inbound.authorization),
      },
    }),
    upstreams: snapshot.upstreams.map(upstream => ({
      destination_name: upstream.name,
      local_bind: formatAddress(upstream.bind),
      endpoints: upstream.endpoints.map(({ address, expect, weight }) => ({
        address: formatAddress(address),
        expect: expect.map(id => id.uri),
        weight,
      })),
    })),
  }
}

/** The fields that its access line will have as well bear the same names there. */
export function describeSession(session: SessionView): object {
  return {
    session: session.id,
    direction: session.direction,
    service: session.name,
    state: session.state,
    peer: session.peer,
    downstream: session.downstream,
    endpoint: session.endpoint,
    started_at: new Date(session.startedAt).toISOString(),
    bytes_to_upstream: session.bytesToUpstream,
    bytes_to_downstream: session.bytesToDownstream,
  }
}

function describeAuthorization(authorization: Authorization): object {
  if (authorization.by === 'allow') return { allow: authorization.allow.map(formatPattern) }
  if (authorization.by === 'agent') return { authorization: 'agent' }
  const { rules, defaultAction } = authorization.intentions
  return {
    authorization: 'intentions',
    intentions: rules.map(describeRule),
    default_intention: defaultAction,
  }
}
