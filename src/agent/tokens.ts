// Tokens and what they may do. A secret is known to whoever was given it; here is its hash alone.
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Json } from '../consul/shape.ts'
import { Refusal } from './refusal.ts'
import { everyday, everything, type Grants, nothing, type Rights } from './rights.ts'
import type { Row, TokenRow } from './rows.ts'
import type { State } from './state.ts'

export interface AccessSettings {
  readonly enabled: boolean
  readonly defaultPolicy: 'allow' | 'deny'
  /** Secrets of the configuration that may do everything. */
  readonly managementSecrets: readonly string[]
}

// Consul's own accessor of who has no token.
const anonymousAccessor = '00000000-0000-0000-0000-000000000002'
const serviceNameForm = /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,254}[A-Za-z0-9])?$/

export class Tokens {
  readonly #state: State
  readonly #settings: AccessSettings
  /** By the hash of the secret. A look-up by a hash tells nothing of the secret by the time that it takes. */
  readonly #managementHashes: readonly Buffer[]

  constructor(state: State, settings: AccessSettings) {
    this.#state = state
    this.#settings = settings
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
    if (secret === '')
      return { accessor: anonymousAccessor, ...(this.defaultAction === 'allow' ? everyday : nothing) }
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

  #grantsOf({ management, identities, proxy }: TokenRow): Grants {
    if (management) return everything
    if (proxy !== undefined) return this.#grantsOfProxy(proxy)
    const own = new Set(identities.flatMap(name => [name, `${name}-sidecar-proxy`]))
    const any = own.size > 0 || this.defaultAction === 'allow'
    return {
      management: false,
      represents: service => own.has(service),
      writes: service => own.has(service),
      reads: () => any,
      readsInstance: () => any,
      readsNodes: any,
    }
  }

  /** Its own configuration, its service's identity, and finding upstreams; nothing that changes anything. */
  #grantsOfProxy(proxy: string): Grants {
    const target = this.#state.get('service', proxy)?.Proxy?.DestinationServiceName
    if (target === undefined) return nothing
    return {
      management: false,
      represents: service => service === target,
      writes: () => false,
      reads: () => true,
      readsInstance: ({ ID }) => ID === proxy,
      readsNodes: true,
    }
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
      management: managementOf(body),
      identities: identitiesOf(body),
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
    const { CreateIndex, ModifyIndex, ...before } = this.#known(accessor)
    const row = {
      ...before,
      Description: String(body.Description ?? before.Description),
      management: body.Policies === undefined ? before.management : managementOf(body),
      identities: identitiesOf(body),
    }
    this.#state.write(transaction => transaction.put('token', accessor, row))
    return this.show(this.#row(accessor))
  }

  delete(accessor: string): void {
    this.#known(accessor)
    this.#state.write(transaction => transaction.delete('token', accessor))
  }

  list(): readonly Row<'token'>[] {
    return this.#state.all('token')
  }

  get(accessor: string): Row<'token'> | undefined {
    return this.#state.get('token', accessor)
  }

  show(row: Row<'token'>, secret?: string): Json {
    return {
      AccessorID: row.AccessorID,
      SecretID: secret ?? '<hidden>',
      Description: row.Description,
      ...(row.management && { Policies: [{ ID: managementPolicy, Name: 'global-management' }] }),
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
      ...(given.proxy !== undefined && { proxy: given.proxy }),
      CreateTime: new Date().toISOString(),
    }
    return { row, secret }
  }
}

/** Consul's own ID of the policy that allows everything. */
const managementPolicy = '00000000-0000-0000-0000-000000000001'

function managementOf({ Policies = [] }: Json): boolean {
  const policies = Policies as readonly Json[]
  const other = policies.find(({ ID, Name }) => ID !== managementPolicy && Name !== 'global-management')
  if (other !== undefined)
    throw new Refusal(
      400,
      `Policies: got ${JSON.stringify(other)}, expected global-management: other policies are not there, service identities are`,
    )
  return policies.length > 0
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
