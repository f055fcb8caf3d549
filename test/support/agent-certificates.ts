// What a proxy gets from its agent, for peers that a test plays itself.
import type { ConsulAgent } from './consul-agent.ts'

export interface AgentLeaf {
  readonly chainPem: string
  /** SEC1 in PEM. */
  readonly keyPem: string
  readonly uri: string
}

export async function fetchLeaf(agent: ConsulAgent, service: string): Promise<AgentLeaf> {
  const leaf = await agent.call<{ CertPEM: string; PrivateKeyPEM: string; ServiceURI: string }>(
    'GET',
    `/v1/agent/connect/ca/leaf/${service}`,
  )
  return { chainPem: leaf.CertPEM, keyPem: leaf.PrivateKeyPEM, uri: leaf.ServiceURI }
}

export interface AgentRoots {
  readonly trustDomain: string
  readonly certPem: string
}

export async function fetchRoots(agent: ConsulAgent): Promise<AgentRoots> {
  const answer = await agent.call<{ TrustDomain: string; Roots: { RootCert: string }[] }>(
    'GET',
    '/v1/agent/connect/ca/roots',
  )
  return {
    trustDomain: answer.TrustDomain,
    certPem: answer.Roots.map(({ RootCert }) => RootCert).join(''),
  }
}
