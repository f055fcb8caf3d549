// By what peers are authorized, and what that says of one.
import { consulServiceOf } from '../identity/consul-service.ts'
import type { SpiffeId } from '../identity/spiffe-id.ts'
import { type AllowList, isAllowed } from './allow-list.ts'
import { decide, describeRule, type Intentions } from './intentions.ts'

export type Authorization =
  | { readonly by: 'allow'; readonly allow: AllowList }
  | { readonly by: 'intentions'; readonly intentions: Intentions }
  /** The agent is asked about each peer. The intentions, as far as they are known, are news alone: a change of them asks again. */
  | { readonly by: 'agent'; readonly intentions: Intentions | undefined }

export type Verdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly because: string }
  /** Not known here: the agent has to be asked. */
  | { readonly allowed: undefined }

/** What the agent is asked: may this peer reach our service? */
export interface AgentQuestion {
  /** Ours. */
  readonly service: string
  /** The peer's SPIFFE ID. */
  readonly uri: string
  /** Of the peer's certificate, upper-case hexadecimal; absent where no certificate is at hand. */
  readonly serial?: string
}

export interface AgentVerdict {
  readonly authorized: boolean
  readonly reason: string
}

/** Rejects where the agent does not answer, or does not decide; the signal takes the question back. */
export type AskAgent = (question: AgentQuestion, signal: AbortSignal) => Promise<AgentVerdict>

export function authorize(authorization: Authorization, peer: SpiffeId): Verdict {
  if (authorization.by === 'allow') {
    return isAllowed(authorization.allow, peer)
      ? { allowed: true }
      : { allowed: false, because: 'not in allow' }
  }
  const source = consulServiceOf(peer)
  if (source === undefined) return { allowed: false, because: 'not the ID of a Consul service' }
  if (authorization.by === 'agent') return { allowed: undefined }
  const { action, rule } = decide(authorization.intentions, source)
  if (action === 'allow') return { allowed: true }
  return {
    allowed: false,
    because: rule === undefined ? 'no intention, and the default is deny' : `intention ${describeRule(rule)}`,
  }
}
