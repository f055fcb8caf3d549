// The Connect CA: the root that signs now, those before it that are still trusted, and rotation from one to the next. The key never leaves it.
import { createPrivateKey, randomUUID, X509Certificate } from 'node:crypto'
import type { Json } from '../consul/shape.ts'
import { type IssuedCertificate, issueCertificate, loadIssuer } from '../identity/issue.ts'
import {
  commonNameOf,
  defaultLeafTtlMs,
  earliest,
  givenRoot,
  isGiven,
  leafTtlOf,
  newRoot,
  rootId,
  rootRow,
  shortDuration,
} from './authority-material.ts'
import type { Row } from './rows.ts'
import type { State } from './state.ts'

/** What an operator may set. */
export interface AuthoritySettings {
  readonly leafTtlMs: number
}

// Cross-signed certificates that a leaf's bundle may carry: as many as a verifier follows (`identity/chain.ts`).
const longestChain = 4

export class Authority {
  readonly #state: State
  readonly #now: () => number
  /** The active root with its key, parsed once. */
  #signer: { readonly id: string; readonly issuer: IssuedCertificate } | undefined

  constructor(state: State, now: () => number = Date.now) {
    this.#state = state
    this.#now = now
  }

  /** Makes the trust domain and the first root where there is none. */
  async start(settings: Json = {}): Promise<void> {
    if (this.#state.get('setting', 'authority') !== undefined) return
    const value = {
      trustDomain: `${randomUUID()}.consul`,
      leafTtlMs: leafTtlOf(settings) ?? defaultLeafTtlMs,
    }
    const issuer = await (isGiven(settings)
      ? givenRoot(settings, value.trustDomain, this.#now())
      : newRoot(value.trustDomain))
    this.#state.write(transaction => {
      transaction.put('setting', 'authority', { value })
      const row = rootRow(issuer, [])
      transaction.put('root', row.ID, row)
    })
  }

  get trustDomain(): string {
    return String(this.#setting().trustDomain)
  }

  get settings(): AuthoritySettings {
    return { leafTtlMs: Number(this.#setting().leafTtlMs) }
  }

  /** The active one first. */
  roots(): readonly Row<'root'>[] {
    return this.#state
      .all('root')
      .toSorted((a, b) => Number(b.active) - Number(a.active) || b.CreateIndex - a.CreateIndex)
  }

  active(): Row<'root'> {
    const root = this.roots()[0]
    if (root?.active !== true) throw new Error('a CA without an active root')
    return root
  }

  configuration(): Json {
    const row = this.#state.get('setting', 'authority')
    return {
      Provider: 'consul',
      Config: { LeafCertTTL: shortDuration(this.settings.leafTtlMs) },
      State: null,
      ForceWithoutCrossSigning: false,
      CreateIndex: row?.CreateIndex ?? 0,
      ModifyIndex: row?.ModifyIndex ?? 0,
    }
  }

  /**
   * The configuration as `PUT` gives it: with a key and root those are signed by from now on; without them only settings change.
   * @throws Refusal
   */
  async configure(config: Json): Promise<void> {
    const leafTtlMs = leafTtlOf(config) ?? this.settings.leafTtlMs
    const issuer = isGiven(config) ? await givenRoot(config, this.trustDomain, this.#now()) : undefined
    if (issuer !== undefined && rootId(issuer.certPem) !== this.active().ID) await this.#rotateTo(issuer)
    if (leafTtlMs !== this.settings.leafTtlMs)
      this.#state.write(transaction =>
        transaction.put('setting', 'authority', { value: { ...this.#setting(), leafTtlMs } }),
      )
  }

  /** A new root of our own, cross-signed by the one that signed until now. */
  async rotate(): Promise<void> {
    await this.#rotateTo(await newRoot(this.trustDomain))
  }

  /** A leaf for a service, with everything that a peer needs to verify it by any root of ours. */
  async issueLeaf(service: string, uri: string, ttlMs = this.settings.leafTtlMs): Promise<IssuedLeaf> {
    const root = this.active()
    const issuer = await this.#issuerOf(root)
    const now = this.#now()
    const leaf = await issueCertificate({
      commonName: `${commonNameOf(service)}.svc.default.${this.trustDomain.slice(0, 8)}.consul`,
      issuer,
      uris: [uri],
      notBefore: new Date(now - 60_000),
      notAfter: new Date(Math.min(now + ttlMs, Date.parse(new X509Certificate(root.certPem).validTo))),
    })
    return {
      certPem: leaf.certPem + root.intermediatePems.join(''),
      keyPem: leaf.sec1Pem,
      serial: leaf.certificate.serialNumber,
      notBefore: leaf.certificate.notBefore,
      notAfter: leaf.certificate.notAfter,
      rootId: root.ID,
    }
  }

  /** Roots that no living leaf can have been signed by are trusted no longer. */
  prune(): void {
    const before = this.#now() - 2 * this.settings.leafTtlMs
    const old = this.roots().filter(({ active, retiredAt = 0 }) => !active && retiredAt < before)
    if (old.length === 0) return
    this.#state.write(transaction => {
      for (const { ID } of old) transaction.delete('root', ID)
    })
  }

  async #rotateTo(issuer: IssuedCertificate): Promise<void> {
    const before = this.active()
    const old = await this.#issuerOf(before)
    const notAfter = earliest(old.certificate.notAfter, issuer.certificate.notAfter)
    const cross = await issueCertificate({
      commonName: issuer.certificate.subjectName.getField('CN')[0] ?? 'Connect CA',
      subject: issuer.certificate.subject,
      issuer: old,
      ca: true,
      uris: [`spiffe://${this.trustDomain}`],
      keys: issuer.keys,
      notAfter,
    })
    const intermediates = [cross.certPem, ...before.intermediatePems].slice(0, longestChain)
    const next = rootRow(issuer, intermediates)
    const { CreateIndex, ModifyIndex, keyPem, ...retired } = before
    this.#state.write(transaction => {
      // Its key is of no use any more, and so is not kept.
      transaction.put('root', before.ID, { ...retired, active: false, retiredAt: this.#now() })
      transaction.put('root', next.ID, next)
    })
  }

  async #issuerOf(root: Row<'root'>): Promise<IssuedCertificate> {
    if (this.#signer?.id === root.ID) return this.#signer.issuer
    if (root.keyPem === undefined) throw new Error('an active root without its key')
    const issuer = await loadIssuer(root.certPem, createPrivateKey(root.keyPem))
    this.#signer = { id: root.ID, issuer }
    return issuer
  }

  #setting(): Json {
    return this.#state.get('setting', 'authority')?.value ?? {}
  }
}

export interface IssuedLeaf {
  readonly certPem: string
  /** SEC1, as Consul gives it. */
  readonly keyPem: string
  readonly serial: string
  readonly notBefore: Date
  readonly notAfter: Date
  readonly rootId: string
}
