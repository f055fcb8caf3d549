// `sidesplice intention`: who may connect to whom.
import { Command, Option } from 'commander'
import { SidespliceError } from '../../errors.ts'
import { type Ask, operatorAction } from './ask.ts'

interface Intention {
  readonly ID: string
  readonly SourceName: string
  readonly DestinationName: string
  readonly Action: string
  readonly Precedence: number
}

const path = '/v1/connect/intentions'

export function intentionCommand(): Command {
  const command = new Command('intention').description('Intentions: who may connect to whom.')
  const list = new Command('list').description('List them, in the order in which they are looked at.')
  operatorAction(list, async (ask, output) => {
    output.rows(await all(ask), [
      { heading: 'SOURCE', of: row => row.SourceName },
      { heading: 'DESTINATION', of: row => row.DestinationName },
      { heading: 'ACTION', of: row => row.Action },
      { heading: 'PRECEDENCE', of: row => row.Precedence },
      { heading: 'ID', of: row => row.ID },
    ])
  })
  const check = new Command('check')
    .description('Say whether a source may connect to a destination.')
    .argument('<source>')
    .argument('<destination>')
  operatorAction(check, async (ask, output, source = '', destination = '') => {
    const { Allowed } = await ask<{ Allowed: boolean }>({
      path: `${path}/check`,
      query: { source, destination },
    })
    output.done(`${source} => ${destination}: ${Allowed ? 'allowed' : 'denied'}`, { Allowed })
  })
  const remove = new Command('delete')
    .description('Delete the one between two services.')
    .argument('<source>')
    .argument('<destination>')
  operatorAction(remove, async (ask, output, source = '', destination = '') => {
    const found = await between(ask, source, destination)
    if (found === undefined)
      throw new SidespliceError(`got no intention ${source} => ${destination}, expected one to delete`, {
        source: 'cli',
        code: 'usage',
      })
    await ask({ method: 'DELETE', path: `${path}/${found.ID}` })
    output.done(`deleted: ${source} => ${destination}`, found)
  })
  command.addCommand(list, { isDefault: true }).addCommand(check).addCommand(remove)
  for (const action of ['allow', 'deny'] as const) command.addCommand(setter(action))
  return command
}

/** Makes one, or turns the one that there is. */
function setter(action: 'allow' | 'deny'): Command {
  const command = new Command(action)
    .description(
      action === 'allow' ? 'Let a source connect to a destination.' : 'Deny it, and end its sessions.',
    )
    .argument('<source>')
    .argument('<destination>')
    .addOption(new Option('--description <text>', 'why'))
  return operatorAction(command, async (ask, output, source = '', destination = '') => {
    const { description } = command.opts<{ description?: string }>()
    const body = {
      ...{ SourceName: source, DestinationName: destination, SourceType: 'consul', Action: action },
      ...(description !== undefined && { Description: description }),
    }
    const found = await between(ask, source, destination)
    if (found === undefined) await ask({ method: 'POST', path, body })
    else await ask({ method: 'PUT', path: `${path}/${found.ID}`, body })
    output.done(`${source} => ${destination}: ${action}`, body)
  })
}

async function all(ask: Ask): Promise<readonly Intention[]> {
  return (await ask<readonly Intention[] | null>({ path })) ?? []
}

async function between(ask: Ask, source: string, destination: string): Promise<Intention | undefined> {
  return (await all(ask)).find(row => row.SourceName === source && row.DestinationName === destination)
}
