// Leaf certificates by service: made when first asked for, kept in memory alone, renewed before they age and after a rotation.
import { spiffeIdOf } from '../identity/consul-service.ts'
import type { Authority, IssuedLeaf } from './authority.ts'
import { Refusal } from './refusal.ts'
import type { State } from './state.ts'
import { topicOf } from './topics.ts'

export interface Leaf extends IssuedLeaf {
  readonly service: string
  readonly uri: string
  /** When it was made; it never changes. */
  readonly index: number
  readonly renewAt: number
}

export interface LeavesOptions {
  readonly state: State
  readonly authority: Authority
  readonly datacenter: string
  readonly now?: () => number
  readonly random?: () => number
}

// A share of its life, at random, so that many do not come due together (Consul: 60 to 90 %).
const [renewFrom, renewTo] = [0.6, 0.9]
// After a rotation peers learn of the new root within milliseconds; leaves follow within this, spread likewise.
const [rotationFromMs, rotationSpreadMs] = [500, 2_500]
// Keys of services that nobody asks about any more are not kept for ever.
const mostLeaves = 10_000

export class Leaves {
  readonly #options: LeavesOptions
  readonly #leaves = new Map<string, Leaf>()
  /** One at a time for each service: two that ask together get the same. */
  readonly #making = new Map<string, Promise<Leaf>>()
  readonly #rotated = new Map<string, number>()

  constructor(options: LeavesOptions) {
    this.#options = options
  }

  /** @throws Refusal where the name can't be part of a SPIFFE ID */
  get(service: string): Promise<Leaf> {
    const leaf = this.#leaves.get(service)
    if (leaf !== undefined && this.#now() < this.dueAt(leaf)) return Promise.resolve(leaf)
    const making =
      this.#making.get(service) ?? this.#make(service).finally(() => this.#making.delete(service))
    this.#making.set(service, making)
    return making
  }

  /** When another one is to take its place. */
  dueAt(leaf: Leaf): number {
    const { authority, random = Math.random } = this.#options
    if (authority.active().ID === leaf.rootId) return leaf.renewAt
    const due = this.#rotated.get(leaf.service) ?? this.#now() + rotationFromMs + random() * rotationSpreadMs
    this.#rotated.set(leaf.service, due)
    return Math.min(due, leaf.renewAt)
  }

  async #make(service: string): Promise<Leaf> {
    const { authority, state, datacenter, random = Math.random } = this.#options
    const uri = this.#uriOf(service, authority.trustDomain, datacenter)
    const issued = await authority.issueLeaf(service, uri)
    state.write(transaction => transaction.touch(topicOf.leaf(service)))
    const madeAt = this.#now()
    const lifeMs = issued.notAfter.getTime() - madeAt
    const renewAt = madeAt + lifeMs * (renewFrom + random() * (renewTo - renewFrom))
    const leaf = { ...issued, service, uri, index: state.index, renewAt }
    this.#leaves.delete(service)
    this.#leaves.set(service, leaf)
    this.#rotated.delete(service)
    const [oldest] = this.#leaves.keys()
    if (this.#leaves.size > mostLeaves && oldest !== undefined) this.#leaves.delete(oldest)
    return leaf
  }

  #uriOf(service: string, trustDomain: string, datacenter: string): string {
    if (service.includes('/'))
      throw new Refusal(500, `SPIFFE ID is not in the expected format: got a service name with a slash in it`)
    try {
      return spiffeIdOf(trustDomain, { partition: 'default', namespace: 'default', datacenter, service }).uri
    } catch {
      throw new Refusal(
        400,
        `got service ${JSON.stringify(service)}, expected a name that a SPIFFE ID can hold`,
      )
    }
  }

  #now(): number {
    return (this.#options.now ?? Date.now)()
  }
}
