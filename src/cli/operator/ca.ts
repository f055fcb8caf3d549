// `sidesplice ca`: the roots that the mesh trusts, and a new one in place of the one that signs.
import { randomUUID } from 'node:crypto'
import { Command } from 'commander'
import { operatorAction } from './ask.ts'

interface Root {
  readonly ID: string
  readonly Name: string
  readonly NotAfter: string
  readonly Active: boolean
  readonly IntermediateCerts: readonly string[] | null
}

interface Roots {
  readonly TrustDomain: string
  readonly Roots: readonly Root[]
}

const rootYearsMs = 10 * 365 * 24 * 3_600_000

export function caCommand(): Command {
  const command = new Command('ca').description('The CA of the mesh.')
  const list = new Command('roots').description('List the roots that are trusted.')
  operatorAction(list, async (ask, output) => {
    const { Roots } = await ask<Roots>({ path: '/v1/connect/ca/roots' })
    output.rows(Roots, [
      { heading: 'ID', of: row => row.ID },
      { heading: 'NAME', of: row => row.Name },
      { heading: 'NOT AFTER', of: row => row.NotAfter },
      { heading: 'SIGNS', of: row => (row.Active ? 'yes' : 'no') },
      { heading: 'CROSS-SIGNED', of: row => row.IntermediateCerts?.length ?? 0 },
    ])
  })
  const rotate = new Command('rotate').description(
    'Make a new root and let it sign; the one before it signs it as well, so that no connection fails.',
  )
  operatorAction(rotate, async (ask, output) => {
    const { TrustDomain } = await ask<Roots>({ path: '/v1/connect/ca/roots' })
    // Only now: it is slow to load, and no other command needs it.
    const { issueCertificate } = await import('../../identity/issue.ts')
    const root = await issueCertificate({
      commonName: `pri-${randomUUID().slice(0, 7)}.consul.ca.${TrustDomain.slice(0, 8)}.consul`,
      ca: true,
      uris: [`spiffe://${TrustDomain}`],
      notAfter: new Date(Date.now() + rootYearsMs),
    })
    // What it is set to otherwise stays: Consul takes a configuration as a whole.
    const { Config } = await ask<{ Config: object }>({ path: '/v1/connect/ca/configuration' })
    await ask({
      method: 'PUT',
      path: '/v1/connect/ca/configuration',
      body: { Provider: 'consul', Config: { ...Config, PrivateKey: root.sec1Pem, RootCert: root.certPem } },
    })
    const { Roots } = await ask<Roots>({ path: '/v1/connect/ca/roots' })
    const active = Roots.find(({ Active }) => Active)
    output.done(`root ${active?.ID} signs from now on; ${Roots.length} are trusted`, {
      ActiveRootID: active?.ID,
    })
  })
  return command.addCommand(list, { isDefault: true }).addCommand(rotate)
}
