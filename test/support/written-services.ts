// Services of a mesh as a written agent tells of them, all at once: what a sidecar needs to come up.
import type { Era, Member } from './consul-eras.ts'
import { mesh as certificates, type IssuedCertificate, issueLeaf } from './pki.ts'
import type { WrittenMesh } from './written-mesh.ts'

export const paths = {
  services: '/v1/agent/services',
  roots: '/v1/agent/connect/ca/roots',
  list: '/v1/connect/intentions',
  authorize: '/v1/agent/connect/authorize',
  match: (service: string) => `/v1/connect/intentions/match?name=${service}`,
  proxy: (id: string) => `/v1/agent/service/${id}-sidecar-proxy`,
  leaf: (service: string) => `/v1/agent/connect/ca/leaf/${service}`,
  health: (service: string) => `/v1/health/connect/${service}`,
} as const

export async function tellServices(agent: WrittenMesh, era: Era, members: readonly Member[]): Promise<void> {
  const root: IssuedCertificate = certificates.root
  agent.say(paths.services, {
    body: Object.fromEntries(members.map(member => [`${member.id}-sidecar-proxy`, era.registration(member)])),
  })
  agent.say(paths.roots, { by: 'index', body: era.roots([root]) })
  for (const member of members) {
    // Without a subject, its URI SAN critical: as leaves of later versions are.
    const leaf = await issueLeaf(member.name, root, { commonName: '' })
    agent.say(paths.proxy(member.id), { by: 'hash', body: era.registration(member) })
    agent.say(paths.leaf(member.name), { by: 'index', body: era.leaf(member.name, leaf) })
    agent.say(paths.health(member.name), { by: 'index', body: [era.row(member)] })
    tellIntentions(agent, member.name, [])
  }
  agent.say(paths.list, { by: 'index', body: [] })
  agent.say(paths.authorize, { body: era.byDefault() })
}

export function tellIntentions(agent: WrittenMesh, destination: string, rules: readonly object[]): void {
  agent.say(paths.match(destination), {
    by: 'index',
    // Go writes a list without entries that was never made as null.
    body: { [destination]: rules.length === 0 ? null : rules },
  })
}
