// `sidesplice services` and `sidesplice proxies`: what is registered on the agent, and how it is.
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { parseHcl } from '../../agent/hcl.ts'
import { errorCode, SidespliceError } from '../../errors.ts'
import { type Ask, operatorAction } from './ask.ts'

interface Service {
  readonly ID: string
  readonly Service: string
  readonly Kind?: string
  readonly Address: string
  readonly Port: number
  readonly Proxy?: {
    readonly DestinationServiceName: string
    readonly DestinationServiceID?: string
    readonly Upstreams?: readonly { readonly DestinationName: string; readonly LocalBindPort: number }[]
  }
}

interface Check {
  readonly ServiceID: string
  readonly Status: string
  readonly Name: string
  readonly Output: string
}

interface Seen extends Service {
  readonly Health: string
  readonly Checks: readonly Check[]
}

async function see(ask: Ask): Promise<readonly Seen[]> {
  const services = await ask<Readonly<Record<string, Service>>>({ path: '/v1/agent/services' })
  const checks = Object.values(await ask<Readonly<Record<string, Check>>>({ path: '/v1/agent/checks' }))
  return Object.values(services)
    .toSorted((a, b) => (a.ID < b.ID ? -1 : 1))
    .map(service => {
      const own = checks.filter(({ ServiceID }) => ServiceID === service.ID)
      const worst = ['critical', 'warning'].find(status => own.some(({ Status }) => Status === status))
      return { ...service, Health: worst ?? 'passing', Checks: own }
    })
}

export function servicesCommand(): Command {
  const command = new Command('services').description('Services registered on the agent.')
  const list = new Command('list').description('List them, with their health.')
  operatorAction(list, async (ask, output) => {
    output.rows(await see(ask), [
      { heading: 'ID', of: row => row.ID },
      { heading: 'SERVICE', of: row => row.Service },
      { heading: 'KIND', of: row => row.Kind ?? '' },
      { heading: 'ADDRESS', of: row => (row.Port === 0 ? '' : `${row.Address}:${row.Port}`) },
      { heading: 'HEALTH', of: row => row.Health },
    ])
  })
  const register = new Command('register')
    .description('Register what a file defines, JSON or HCL.')
    .argument('<file>')
  operatorAction(register, async (ask, output, file = '') => {
    const definitions = definitionsIn(file)
    for (const body of definitions) await ask({ method: 'PUT', path: '/v1/agent/service/register', body })
    output.done(`registered ${definitions.length} of ${file}`, { registered: definitions.length })
  })
  const deregister = new Command('deregister').description('Take one back.').argument('<id>')
  operatorAction(deregister, async (ask, output, id = '') => {
    await ask({ method: 'PUT', path: `/v1/agent/service/deregister/${encodeURIComponent(id)}` })
    output.done(`deregistered ${id}`, { deregistered: id })
  })
  return command.addCommand(list, { isDefault: true }).addCommand(register).addCommand(deregister)
}

export function proxiesCommand(): Command {
  const command = new Command('proxies').description(
    'Proxies registered on the agent: for whom, where, and how they are.',
  )
  return operatorAction(command, async (ask, output) => {
    const proxies = (await see(ask)).filter(({ Kind }) => Kind === 'connect-proxy')
    output.rows(proxies, [
      { heading: 'ID', of: row => row.ID },
      { heading: 'FOR', of: row => row.Proxy?.DestinationServiceName ?? '' },
      { heading: 'PORT', of: row => row.Port },
      {
        heading: 'UPSTREAMS',
        of: row =>
          (row.Proxy?.Upstreams ?? []).map(one => `${one.DestinationName}@${one.LocalBindPort}`).join(' '),
      },
      { heading: 'HEALTH', of: row => row.Health },
      {
        heading: 'WHY',
        of: row =>
          row.Checks.find(({ Status }) => Status !== 'passing')
            ?.Output.trim()
            .slice(0, 80) ?? '',
      },
    ])
  })
}

/** The bodies to register: keys are the agent's to check. */
function definitionsIn(file: string): readonly object[] {
  const parsed = read(file)
  const services = [parsed.service ?? [], parsed.services ?? []].flat()
  const bodies = services.filter(body => typeof body === 'object' && body !== null)
  if (bodies.length > 0) return bodies as readonly object[]
  throw bad(file, 'no service', 'a block "service", or a list "services"')
}

function read(file: string): Readonly<Record<string, unknown>> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw bad(file, errorCode(error), 'a file that can be read')
  }
  try {
    return /^\s*\{/.test(text) ? JSON.parse(text) : parseHcl(text)
  } catch (error) {
    throw bad(file, error instanceof Error ? error.message : 'text that does not parse', 'JSON or HCL')
  }
}

function bad(file: string, got: string, expected: string): SidespliceError {
  return new SidespliceError(`${file}: got ${got}, expected ${expected}`, { source: 'cli', code: 'usage' })
}
