// The agent's CA with a key that the test has as well: so it can issue what Consul never would.
import type { ConsulAgent } from './consul-agent.ts'
import { type IssuedCertificate, issue } from './pki.ts'

export interface KnownCa {
  readonly trustDomain: string
  readonly root: IssuedCertificate
}

/** From now on the agent issues by this CA; roots that there were before stay listed. */
export async function setCa(agent: ConsulAgent, commonName = 'known CA'): Promise<KnownCa> {
  const { TrustDomain } = await agent.call<{ TrustDomain: string }>('GET', '/v1/agent/connect/ca/roots')
  const root = await issue({ commonName, ca: true, uris: [`spiffe://${TrustDomain}`] })
  const Config = { PrivateKey: root.sec1Pem, RootCert: root.certPem }
  await agent.call('PUT', '/v1/connect/ca/configuration', { Provider: 'consul', Config })
  return { trustDomain: TrustDomain, root }
}
