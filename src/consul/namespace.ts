// Which namespace an agent is asked about. The open-source edition refuses the parameter, whatever it says (1.8.7: 400 for `default` too).
import type { ConsulClient } from './client.ts'

export interface Namespaced {
  readonly namespace: string
  /** Something names it; otherwise `default` is what an absent name means. */
  readonly namespaceNamed?: boolean
  /** The agent speaks of namespaces by itself, as Enterprise does in each registration. */
  readonly namespacesKnown?: boolean
}

/**
 * Without `ns` the token's own namespace is meant, or that of CONSUL_NAMESPACE, so one that is named is sent; `default` only where
 * something else says that the agent knows it.
 */
export function namespaceQuery(client: ConsulClient, asked: Namespaced): { readonly ns?: string } {
  const { namespace, namespaceNamed = false, namespacesKnown = false } = asked
  const known = namespacesKnown || client.namespace !== undefined
  return namespace !== 'default' || (namespaceNamed && known) ? { ns: namespace } : {}
}
