// `--authorization`: a setting of the public listener that only a sidecar of a mesh has, over what its registration says.
import { Option } from 'commander'
import type { Overrides } from '../config/config.ts'
import { ConfigError, show } from '../config/problem.ts'
import { type AuthorizedBy, authorizedBy } from '../config/registration.ts'

const flag = '--authorization'

export interface AuthorizationValues {
  readonly authorization?: string
}

export function authorizationOption(): Option {
  return new Option(
    `${flag} <${authorizedBy.join('|')}>`,
    "in a mesh: evaluate intentions here, or ask the agent about each connection (default intentions, or the registration's)",
  )
}

/**
 * What goes before the registration.
 * @throws ConfigError
 */
export function overRegistration({ authorization }: AuthorizationValues, overrides: Overrides): Overrides {
  if (authorization === undefined) return overrides
  if (!authorizedBy.includes(authorization as AuthorizedBy)) {
    const expected = `one of ${authorizedBy.join(', ')}`
    throw new ConfigError([{ where: flag, got: show(authorization), expected }])
  }
  return new Map([...overrides, ['authorization', { value: authorization, where: flag }]])
}

/** @throws ConfigError: a file authorizes by its own list */
export function refuseWithFile({ authorization }: AuthorizationValues): void {
  if (authorization === undefined) return
  const expected = '--sidecar-for, --proxy-id or --service with it: with --config inbound.allow authorizes'
  throw new ConfigError([{ where: flag, got: show(authorization), expected }])
}
