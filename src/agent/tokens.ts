// Tokens and what they may do. A secret is known to whoever was given it; here is its hash alone.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Json } from '../consul/shape.ts'
import { grantsOf, rulesOfIdentity } from './grants.ts'
import { managementPolicy, type Policies } from './policies.ts'
import { Refusal } from './refusal.ts'
import { everyday, everything, type Grants, grantsOfProxy, nothing, type Rights } from './rights.ts'
import type { Row, TokenRow } from './rows.ts'
import type { State } from './state.ts'
import { topicOf } from './topics.ts'

export interface AccessSettings {
  readonly enabled: boolean
  readonly defaultPolicy: 'allow' | 'deny'
  /** Secrets of the configuration that may do everything. */
  readonly managementSecrets: readonly string[]
}

// Consul's own accessor of who has no token.
const anonymousAccessor = '00000000-0000-0000-0000-000000000002'
const serviceNameForm = /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,254}[A-Za-z0-9])?$/

export interface TokensOptions {
  readonly state: State
  readonly policies: Policies
  readonly settings: AccessSettings
  /** Its name, which rules speak of. */
  readonly node: string
}

export class Tokens {
  readonly #state: State
  readonly #policies: Policies
  readonly #settings: AccessSettings
  readonly #node: string
  /** By accessor, until a token or a policy changes: each call asks, and each that blocks when it wakes. */
  readonly #grants = new Map<string, Grants>()
  #grantsOfIndex = 0
  /** By the hash of the secret. A look-up by a hash tells nothing of the secret by the time that it takes. */
  readonly #managementHashes: readonly Buffer[]

  constructor({ state, policies, settings, node }: TokensOptions) {
    this.#state = state
    this.#policies = policies
    this.#settings = settings
    this.#node = node
    this.#managementHashes = settings.managementSecrets.map(secret => digest(secret))
  }

  get enabled(): boolean {
    return this.#settings.enabled
  }

  get defaultAction(): 'allow' | 'deny' {
    return this.#settings.enabled ? this.#settings.defaultPolicy : 'allow'
  }

  /** @throws Refusal where there is no such token */
  rightsOf(secret: string): Rights {
    if (!this.enabled) return { accessor: '', ...everything }
    if (secret === '') return { accessor: anonymousAccessor, ...this.#fallback }
    const hash = digest(secret)
    // Each of them, so that which one it was takes the same time.
    const managed = this.#managementHashes.map(known => timingSafeEqual(known, hash)).includes(true)
    if (managed) return { accessor: 'configuration', ...everything }
    const row = this.#find(hash)
    if (row === undefined) throw new Refusal(403, 'ACL not found')
    return { accessor: row.AccessorID, ...this.#grantsOf(row) }
  }

  #find(hash: Buffer): Row<'token'> | undefined {
    let found: Row<'token'> | undefined
    for (const row of this.#state.all('token'))
      if (timingSafeEqual(Buffer.from(row.secretHash, 'hex'), hash)) found = row
    return found
  }

  /** What holds where nothing is said. */
  get #fallback(): Grants {
    return this.defaultAction === 'allow' ? everyday : nothing
  }

  #grantsOf(row: TokenRow): Grants {
    if (row.management) return everything
    if (row.proxy !== undefined) {
      const target = this.#state.get('service', row.proxy)?.Proxy?.DestinationServiceName
      return target === undefined ? nothing : grantsOfProxy(row.proxy, target)
    }
    const index = this.#state.indexOf([topicOf.tokens])
    if (index !== this.#grantsOfIndex) this.#grants.clear()
    this.#grantsOfIndex = index
    const known = this.#grants.get(row.AccessorID)
    if (known !== undefined) return known
    const rules = [...row.identities.map(rulesOfIdentity), ...this.#policies.rulesOf(row.policies ?? [])]
    const grants = grantsOf(rules, { fallback: this.#fallback, node: this.#node })
    this.#grants.set(row.AccessorID, grants)
    return grants
  }

  /** Once; with the secret, which is not told again. */
  bootstrap(): Json {
    if (this.#state.get('setting', 'bootstrapped') !== undefined)
      throw new Refusal(403, 'Permission denied: ACL bootstrap no longer allowed (reset index: 0)')
    const made = this.#make({ description: 'Bootstrap Token (Global Management)', management: true })
    this.#state.write(transaction => {
      transaction.put('token', made.row.AccessorID, made.row)
      transaction.put('setting', 'bootstrapped', { value: {} })
    })
    return this.show(this.#row(made.row.AccessorID), made.secret)
  }

  create(body: Json): Json {
    const made = this.#make({
      description: String(body.Description ?? ''),
      ...this.#rightsOfBody(body),
      ...(typeof body.AccessorID === 'string' && body.AccessorID !== '' && { accessor: body.AccessorID }),
      ...(typeof body.SecretID === 'string' && body.SecretID !== '' && { secret: body.SecretID }),
    })
    if (this.get(made.row.AccessorID) !== undefined) throw new Refusal(500, 'AccessorID is already in use')
    this.#state.write(transaction => transaction.put('token', made.row.AccessorID, made.row))
    return this.show(this.#row(made.row.AccessorID), made.secret)
  }

  /** For a managed proxy. It has no right where its registration is gone. */
  createForProxy(proxy: string): { readonly accessor: string; readonly secret: string } {
    const { row, secret } = this.#make({ description: `managed proxy ${proxy}`, proxy })
    this.#state.write(transaction => transaction.put('token', row.AccessorID, row))
    return { accessor: row.AccessorID, secret }
  }

  update(accessor: string, body: Json): Json {
    const known = this.get(accessor)
    if (known === undefined) throw new Refusal(500, `Cannot find token ${JSON.stringify(accessor)}`)
    const { CreateIndex, ModifyIndex, ...before } = known
    const row = {
      ...before,
      Description: String(body.Description ?? before.Description),
      ...this.#rightsOfBody(body),
    }
    this.#state.write(transaction => transaction.put('token', accessor, row))
    return this.show(this.#row(accessor))
  }

  /** One that is not there is gone already. */
  delete(accessor: string): void {
    this.#state.write(transaction => transaction.delete('token', accessor))
  }

  list(): readonly Row<'token'>[] {
    return this.#state.all('token')
  }

  get(accessor: string): Row<'token'> | undefined {
    return this.#state.get('token', accessor)
  }

  show(row: Row<'token'>, secret?: string): Json {
    const ids = [...(row.management ? [managementPolicy] : []), ...(row.policies ?? [])]
    const policies = ids.flatMap(id => this.#policies.find(id) ?? [])
    return {
      AccessorID: row.AccessorID,
      SecretID: secret ?? '<hidden>',
      Description: row.Description,
      ...(policies.length > 0 && { Policies: policies.map(({ ID, Name }) => ({ ID, Name })) }),
      ...(row.identities.length > 0 && {
        ServiceIdentities: row.identities.map(ServiceName => ({ ServiceName })),
      }),
      Local: false,
      CreateTime: row.CreateTime,
      Hash: row.secretHash.slice(0, 16),
      CreateIndex: row.CreateIndex,
      ModifyIndex: row.ModifyIndex,
    }
  }

  /** What a body gives. What it does not speak of it takes away, as Consul does. */
  #rightsOfBody(body: Json): Pick<TokenRow, 'management' | 'identities' | 'policies'> {
    refuseUnknown(body)
    const ids = this.#policies.resolve((body.Policies ?? []) as readonly Json[])
    return {
      management: ids.includes(managementPolicy),
      identities: identitiesOf(body),
      policies: ids.filter(id => id !== managementPolicy),
    }
  }

  #known(accessor: string): Row<'token'> {
    const row = this.get(accessor)
    if (row === undefined) throw new Refusal(403, 'ACL not found')
    return row
  }

  #row(accessor: string): Row<'token'> {
    return this.#known(accessor)
  }

  #make(given: {
    readonly description: string
    readonly management?: boolean
    readonly identities?: readonly string[]
    readonly policies?: readonly string[]
    readonly proxy?: string
    readonly accessor?: string
    readonly secret?: string
  }): { readonly row: TokenRow; readonly secret: string } {
    const secret = given.secret ?? randomUUID()
    const row: TokenRow = {
      AccessorID: given.accessor ?? randomUUID(),
      secretHash: digest(secret).toString('hex'),
      Description: given.description,
      management: given.management ?? false,
      identities: given.identities ?? [],
      policies: given.policies ?? [],
      ...(given.proxy !== undefined && { proxy: given.proxy }),
      CreateTime: new Date().toISOString(),
    }
    return { row, secret }
  }
}

/** A token that does less, or longer, than its maker has asked for is worse than none. */
function refuseUnknown({ Roles = [], ExpirationTTL, ExpirationTime }: Json): void {
  if ((Roles as readonly Json[]).length > 0)
    throw new Refusal(400, 'Roles: got some, expected none: there are policies and service identities')
  if ((ExpirationTTL ?? ExpirationTime ?? '') !== '' && ExpirationTTL !== 0)
    throw new Refusal(400, 'ExpirationTTL: got one, expected none: tokens do not expire by themselves here')
}

function identitiesOf({ ServiceIdentities = [] }: Json): readonly string[] {
  return (ServiceIdentities as readonly Json[]).map(({ ServiceName }) => {
    const name = String(ServiceName ?? '')
    if (serviceNameForm.test(name)) return name
    throw new Refusal(
      400,
      `Service identity ${JSON.stringify(name)} has an invalid name. Only alphanumeric characters, '-' and '_' are allowed`,
    )
  })
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}
