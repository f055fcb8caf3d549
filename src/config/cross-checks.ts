// What a schema can't say: listeners that collide, and plaintext that would leave this machine.
import { type Address, formatAddress, isLoopback, parseAddress } from '../address.ts'
import type { ConfigFile } from './config.ts'
import type { Problem } from './problem.ts'

export function crossChecks(file: ConfigFile, whereOf: (key: string) => string): readonly Problem[] {
  return [...collisions(file, whereOf), ...exposures(file, whereOf)]
}

function collisions(file: ConfigFile, whereOf: (key: string) => string): Problem[] {
  const taken: { readonly key: string; readonly bind: Address }[] = []
  const problems: Problem[] = []
  const take = (key: string, bind: Address | undefined) => {
    if (bind === undefined) return
    const other = taken.find(one => overlaps(one.bind, bind))
    if (other === undefined) taken.push({ key, bind })
    else
      problems.push({
        where: whereOf(key),
        key,
        got: formatAddress(bind),
        expected: `an address other than that of ${other.key}`,
      })
  }
  take('inbound.listen', addressOf(file.inbound?.listen))
  file.upstreams.forEach((entry, at) => {
    take(`upstreams[${at}].local_bind_port`, { host: entry.local_bind_address, port: entry.local_bind_port })
  })
  take('admin', addressOf(file.admin))
  take('metrics', addressOf(file.metrics))
  return problems
}

/** What would speak plaintext, or for this service, beyond this machine needs the operator's word. */
function exposures(file: ConfigFile, whereOf: (key: string) => string): Problem[] {
  const problems: Problem[] = []
  const require = (key: string, host: string | undefined, flag: string) => {
    if (host === undefined || isLoopback(host)) return
    const expected = `a loopback address, or ${flag} (--${flag.replaceAll('_', '-')})`
    problems.push({ where: whereOf(key), key, got: JSON.stringify(host), expected })
  }
  if (!file.unsafe_admin) require('admin', addressOf(file.admin)?.host, 'unsafe_admin')
  if (!file.unsafe_local_service) {
    require('inbound.local_service_address', addressOf(file.inbound?.local_service_address)
      ?.host, 'unsafe_local_service')
  }
  if (!file.unsafe_upstream_bind) {
    file.upstreams.forEach((entry, at) => {
      require(`upstreams[${at}].local_bind_address`, entry.local_bind_address, 'unsafe_upstream_bind')
    })
  }
  return problems
}

function overlaps(one: Address, other: Address): boolean {
  if (one.port !== other.port) return false
  const wildcards = ['0.0.0.0', '::']
  return one.host === other.host || wildcards.includes(one.host) || wildcards.includes(other.host)
}

function addressOf(text: string | undefined): Address | undefined {
  return text === undefined ? undefined : parseAddress(text)
}
