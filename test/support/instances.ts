// Instances that a test registers where no sidecar of theirs stands.
import type { Address } from '../../src/address.ts'
import type { ConsulAgent } from './consul-agent.ts'

/** Says that a proxy for `service` listens at the address; healthy, as nothing checks it. */
export function registerInstance(agent: ConsulAgent, service: string, at: Address): Promise<unknown> {
  return agent.register({
    Kind: 'connect-proxy',
    ID: `${service}-at-${at.port}`,
    Name: `${service}-sidecar-proxy`,
    Address: at.host,
    Port: at.port,
    Proxy: { DestinationServiceName: service },
  })
}
