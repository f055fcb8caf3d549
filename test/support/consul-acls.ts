// An agent that denies by default, and the tokens that tests get from it.
import { randomUUID } from 'node:crypto'
import type { TestContext } from 'node:test'
import { type ConsulAgent, type ConsulAgentOptions, startConsul } from './consul-agent.ts'
import { eventually } from './running-sidecar.ts'
import { noteSecret } from './secrets.ts'

export interface AclToken {
  readonly AccessorID: string
  readonly SecretID: string
}

/** ACLs with default deny; calls of the test itself are made with a token that may do everything. */
export async function startConsulWithAcls(
  t: TestContext,
  options: Pick<ConsulAgentOptions, 'real'> = {},
): Promise<ConsulAgent & { readonly master: string }> {
  const master = randomUUID()
  noteSecret(master)
  // What a token may do is remembered for half a minute otherwise.
  const ttls = { token_ttl: '100ms', policy_ttl: '100ms', role_ttl: '100ms' }
  const tokens = { master, agent: master }
  const acl = { enabled: true, default_policy: 'deny', ...ttls, tokens }
  const agent = await startConsul(t, { config: { acl }, token: master, ...options })
  await eventually(
    async () => (await agent.send('GET', '/v1/acl/tokens')).status === 200,
    'ACLs to be set up',
  )
  return Object.assign(agent, { master })
}

/** A token with a service's identity: all that its sidecar needs. */
export function serviceToken(agent: ConsulAgent, service: string): Promise<AclToken> {
  return agent.call<AclToken>('PUT', '/v1/acl/token', { ServiceIdentities: [{ ServiceName: service }] })
}

/** Takes everything from a token: the agent refuses what it asked for until now. */
export function takeRights(agent: ConsulAgent, { AccessorID }: AclToken): Promise<unknown> {
  return agent.call('PUT', `/v1/acl/token/${AccessorID}`, { AccessorID, ServiceIdentities: [] })
}

export function giveRights(agent: ConsulAgent, { AccessorID }: AclToken, service: string): Promise<unknown> {
  const rights = { AccessorID, ServiceIdentities: [{ ServiceName: service }] }
  return agent.call('PUT', `/v1/acl/token/${AccessorID}`, rights)
}
