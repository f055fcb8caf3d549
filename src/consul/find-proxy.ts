// Which registered proxy stands for a service instance, waited for where it is not there yet.
import { SidespliceError } from '../errors.ts'
import { BackOff, pause } from './back-off.ts'
import { refused } from './blocking-query.ts'
import type { ConsulClient } from './client.ts'
import { object, optionalObject } from './shape.ts'

export interface FindProxyOptions {
  readonly client: ConsulClient
  /** An instance's ID, or that of the proxy itself; compared without regard to case. */
  readonly wanted: { readonly sidecarFor: string } | { readonly proxyId: string }
  /** 0 does not wait, Infinity waits for ever. */
  readonly waitMs: number
  /** Called at once where it has to be waited for, and each minute. */
  readonly onWaiting: (seen: { readonly services: number } | { readonly error: SidespliceError }) => void
  readonly signal: AbortSignal
  readonly tellEveryMs?: number
}

const answerMs = 10_000
const longestPauseMs = 2_000
const defaultTellEveryMs = 60_000

/**
 * The proxy's ID as it is registered.
 * @throws SidespliceError `not_registered` when the wait is over, `ambiguous` where several proxies stand for the instance
 */
export async function findProxy(options: FindProxyOptions): Promise<string> {
  const { client, waitMs, onWaiting, signal, tellEveryMs = defaultTellEveryMs } = options
  const startedAt = performance.now()
  const backOff = new BackOff()
  let toldAt = Number.NEGATIVE_INFINITY
  for (;;) {
    const seen = await look(options).catch((error: unknown) => {
      if (error instanceof SidespliceError && error.code !== 'ambiguous') return { error }
      throw error
    })
    if ('id' in seen) return seen.id
    const now = performance.now()
    if (signal.aborted || now - startedAt >= waitMs) throw notRegistered(options, seen)
    if (now - toldAt >= tellEveryMs) {
      toldAt = now
      onWaiting(seen)
    }
    await pause(Math.min(backOff.next(), longestPauseMs, waitMs - (now - startedAt) + 1), signal)
  }

  async function look({
    wanted,
  }: FindProxyOptions): Promise<{ readonly id: string } | { readonly services: number }> {
    const path = '/v1/agent/services'
    const answer = await client.send({ lane: 'short', path, timeoutMs: answerMs, signal })
    if (answer.status !== 200) throw refused(path, answer)
    const services = Object.values(optionalObject(answer.body, 'services')).map((service, at) =>
      object(service, `services[${at}]`),
    )
    const found = services.filter(service => {
      const stands =
        'proxyId' in wanted ? service.ID : optionalObject(service.Proxy, 'Proxy').DestinationServiceID
      const name = 'proxyId' in wanted ? wanted.proxyId : wanted.sidecarFor
      return service.Kind === 'connect-proxy' && idOf(stands).toLowerCase() === name.toLowerCase()
    })
    const all = found.map(service => idOf(service.ID)).filter(id => id !== '')
    const exact = 'proxyId' in wanted ? all.filter(id => id === wanted.proxyId) : []
    const ids = exact.length > 0 ? exact : all
    if (ids.length > 1) {
      const message = `several proxies stand for ${nameOf(wanted)}: choose one with --proxy-id: ${ids.join(', ')}`
      throw new SidespliceError(message, { source: 'consul', code: 'ambiguous' })
    }
    return ids[0] === undefined ? { services: services.length } : { id: ids[0] }
  }
}

export function nameOf(wanted: FindProxyOptions['wanted']): string {
  return 'proxyId' in wanted ? wanted.proxyId : wanted.sidecarFor
}

function idOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function notRegistered(
  { wanted, client }: FindProxyOptions,
  seen: { readonly services: number } | { readonly error: SidespliceError },
): SidespliceError {
  const what =
    'proxyId' in wanted
      ? `no proxy ${wanted.proxyId} is registered at ${client.place}`
      : `no proxy is registered for ${wanted.sidecarFor} at ${client.place}`
  const because =
    'error' in seen ? seen.error.message : `this token can see ${seen.services} services, and may not see it`
  return new SidespliceError(`${what}: ${because}`, { source: 'consul', code: 'not_registered' })
}
