// By what peers are authorized, and what that says of one.
import { consulServiceOf } from '../identity/consul-service.ts'
import type { SpiffeId } from '../identity/spiffe-id.ts'
import { type AllowList, isAllowed } from './allow-list.ts'
import { decide, describeRule, type Intentions } from './intentions.ts'

export type Authorization =
  | { readonly by: 'allow'; readonly allow: AllowList }
  | { readonly by: 'intentions'; readonly intentions: Intentions }

export type Verdict = { readonly allowed: true } | { readonly allowed: false; readonly because: string }

export function authorize(authorization: Authorization, peer: SpiffeId): Verdict {
  if (authorization.by === 'allow') {
    return isAllowed(authorization.allow, peer)
      ? { allowed: true }
      : { allowed: false, because: 'not in allow' }
  }
  const source = consulServiceOf(peer)
  if (source === undefined) return { allowed: false, because: 'not the ID of a Consul service' }
  const { action, rule } = decide(authorization.intentions, source)
  if (action === 'allow') return { allowed: true }
  return {
    allowed: false,
    because: rule === undefined ? 'no intention, and the default is deny' : `intention ${describeRule(rule)}`,
  }
}
