// `sidesplice tokens`: who may ask the agent what. A secret is printed once, when it is made.
import { Command } from 'commander'
import { operatorAction } from './ask.ts'

interface Token {
  readonly AccessorID: string
  readonly SecretID?: string
  readonly Description: string
  readonly Policies?: readonly { readonly Name: string }[] | null
  readonly ServiceIdentities?: readonly { readonly ServiceName: string }[] | null
}

export function tokensCommand(): Command {
  const command = new Command('tokens').description('ACL tokens.')
  const list = new Command('list').description('List them, without their secrets.')
  operatorAction(list, async (ask, output) => {
    const tokens = await ask<readonly Token[]>({ path: '/v1/acl/tokens' })
    output.rows(
      // Consul's later versions send secrets along.
      tokens.map(({ SecretID, ...token }) => token),
      [
        { heading: 'ACCESSOR', of: row => row.AccessorID },
        { heading: 'DESCRIPTION', of: row => row.Description },
        { heading: 'POLICIES', of: row => (row.Policies ?? []).map(({ Name }) => Name).join(' ') },
        {
          heading: 'SERVICES',
          of: row => (row.ServiceIdentities ?? []).map(({ ServiceName }) => ServiceName).join(' '),
        },
      ],
    )
  })
  const create = new Command('create')
    .description("Make one with a service's identity: all that its sidecar needs.")
    .argument('<service>')
  operatorAction(create, async (ask, output, service = '') => {
    const body = { Description: `sidecar of ${service}`, ServiceIdentities: [{ ServiceName: service }] }
    const made = await ask<Token>({ method: 'PUT', path: '/v1/acl/token', body })
    output.done(`accessor ${made.AccessorID}, secret ${made.SecretID}`, made)
  })
  const remove = new Command('delete').description('Delete one.').argument('<accessor>')
  operatorAction(remove, async (ask, output, accessor = '') => {
    await ask({ method: 'DELETE', path: `/v1/acl/token/${encodeURIComponent(accessor)}` })
    output.done(`deleted ${accessor}`, { deleted: accessor })
  })
  const bootstrap = new Command('bootstrap').description(
    'Make the first one, which may do everything. Works once.',
  )
  operatorAction(bootstrap, async (ask, output) => {
    const made = await ask<Token>({ method: 'PUT', path: '/v1/acl/bootstrap' })
    output.done(`accessor ${made.AccessorID}, secret ${made.SecretID}`, made)
  })
  return command
    .addCommand(list, { isDefault: true })
    .addCommand(create)
    .addCommand(remove)
    .addCommand(bootstrap)
}
