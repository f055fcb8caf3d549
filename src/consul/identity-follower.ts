// Who we are and whom we trust, followed at the agent: roots and leaf come one by one and are taken only where they fit.
import { SidespliceError } from '../errors.ts'
import {
  type Identity,
  type LeafCertificate,
  parseLeaf,
  parseTrustBundle,
  type TrustBundle,
} from '../identity/identity.ts'
import { followBlocking } from './blocking-query.ts'
import type { Answer, ConsulClient } from './client.ts'
import { type Leaf, parseLeafAnswer, parseRoots } from './wire.ts'

export interface IdentityFollowerOptions {
  readonly client: ConsulClient
  /** The service that is represented; the leaf's name. */
  readonly service: string
  readonly onIdentity: (identity: Identity) => void
  /** What came could not be taken; what was stays. */
  readonly onRefused: (error: SidespliceError, what: 'leaf' | 'roots') => void
  readonly onFailure: (error: SidespliceError, what: string) => void
  readonly onContact: (what: string) => void
  readonly signal: AbortSignal
}

export class IdentityFollower {
  readonly #options: IdentityFollowerOptions
  #current: Identity | undefined
  #roots: TrustBundle | undefined
  #leaf: Leaf | undefined
  #lastRefusal: SidespliceError | undefined
  /** What came last could not be taken: it may be later, as time goes on. */
  #refused = false

  constructor(options: IdentityFollowerOptions) {
    this.#options = options
  }

  /** Runs until the signal comes. */
  async run(): Promise<void> {
    const { client, service, signal, onFailure, onContact } = this.#options
    const follow = <T>(
      what: 'roots' | 'leaf',
      path: string,
      parse: (answer: Answer) => T,
      onValue: (value: T) => void,
    ) =>
      followBlocking({
        client,
        lane: 'watch',
        path,
        cursor: 'index',
        parse,
        onValue,
        onFailure: error => onFailure(error, what),
        onContact: () => onContact(what),
        signal,
      })
    await Promise.all([
      follow(
        'roots',
        '/v1/agent/connect/ca/roots',
        answer => parseTrustBundle(parseRoots(answer).pem),
        roots => this.#takeRoots(roots),
      ),
      follow('leaf', `/v1/agent/connect/ca/leaf/${encodeURIComponent(service)}`, parseLeafAnswer, leaf =>
        this.#takeLeaf(leaf),
      ),
    ])
  }

  #takeRoots(roots: TrustBundle): void {
    if (roots.digest === this.#roots?.digest && !this.#refused) return
    this.#roots = roots
    this.#settle('roots')
  }

  #takeLeaf(leaf: Leaf): void {
    if (leaf.certPem === this.#leaf?.certPem && !this.#refused) return
    this.#leaf = leaf
    this.#settle('leaf')
  }

  /**
   * The newest roots with the newest leaf that chains to them. Where they do not fit each other one of the two is still on its
   * way (a rotation, a new cluster with a new trust domain), or the leaf is bad: then new roots are taken with the leaf in use, or a
   * new leaf with the roots in use, and where neither fits the pair that was used until now stays whole.
   */
  #settle(came: 'leaf' | 'roots'): void {
    if (this.#roots === undefined || this.#leaf === undefined) return
    const former = this.#current
    const held = former && { certPem: former.leaf.chainPem, keyPem: former.leaf.privateKey }
    const newest = this.#pair(this.#roots, this.#leaf)
    const refreshed = this.#pair(this.#roots, held)
    // An older leaf is another server's late answer, unless the one in use does not verify any more.
    const older = newest !== undefined && former !== undefined && isOlder(newest.leaf, former.leaf)
    const taken =
      (older ? (refreshed ?? newest) : newest) ?? refreshed ?? this.#pair(former?.trust, this.#leaf)
    this.#refused = newest === undefined
    if (this.#refused) this.#options.onRefused(this.#misfit(), came)
    if (taken === undefined) return
    if (former?.leaf.chainPem === taken.leaf.chainPem && former.trust.digest === taken.trust.digest) return
    this.#current = taken
    this.#options.onIdentity(taken)
  }

  #pair(trust: TrustBundle | undefined, leaf: Leaf | undefined): Identity | undefined {
    if (trust === undefined || leaf === undefined) return undefined
    try {
      return Object.freeze({ leaf: parseLeaf({ ...leaf, trust, now: Date.now() }), trust })
    } catch (error) {
      if (!(error instanceof SidespliceError)) throw error
      if (leaf === this.#leaf) this.#lastRefusal = error
      return undefined
    }
  }

  #misfit(): SidespliceError {
    return (
      this.#lastRefusal ??
      new SidespliceError('leaf and roots do not fit', { source: 'consul', code: 'untrusted' })
    )
  }
}

/** By the time of issue, within one trust domain: serials and indexes start anew with a new cluster. */
function isOlder(leaf: LeafCertificate, former: LeafCertificate): boolean {
  return leaf.id.trustDomain === former.id.trustDomain && leaf.notBeforeAt < former.notBeforeAt
}
