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
    if (roots.digest === this.#roots?.digest) return
    this.#roots = roots
    this.#settle('roots')
  }

  #takeLeaf(leaf: Leaf): void {
    if (leaf.certPem === this.#leaf?.certPem) return
    this.#leaf = leaf
    this.#settle('leaf')
  }

  /**
   * The newest roots with the newest leaf that chains to them. Where they do not fit each other one of the two is still on its
   * way (a rotation, a new cluster with a new trust domain): the pair that was used until now stays whole until then.
   */
  #settle(came: 'leaf' | 'roots'): void {
    if (this.#roots === undefined || this.#leaf === undefined) return
    const taken = this.#tryWith(this.#roots) ?? this.#tryWith(this.#current?.trust)
    if (taken === undefined) return this.#options.onRefused(this.#misfit(), came)
    const { leaf, trust } = taken
    const former = this.#current
    if (former !== undefined && isOlder(leaf, former.leaf)) return
    if (former?.leaf.fingerprint === leaf.fingerprint && former.trust.digest === trust.digest) return
    this.#current = taken
    this.#options.onIdentity(taken)
  }

  #tryWith(trust: TrustBundle | undefined): Identity | undefined {
    if (trust === undefined || this.#leaf === undefined) return undefined
    try {
      const { certPem, keyPem } = this.#leaf
      return Object.freeze({ leaf: parseLeaf({ certPem, keyPem, trust, now: Date.now() }), trust })
    } catch (error) {
      if (error instanceof SidespliceError) {
        this.#lastRefusal = error
        return undefined
      }
      throw error
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
