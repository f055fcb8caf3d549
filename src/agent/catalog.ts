// The catalog of one node: registering and taking back services, checks, and what each instance's health is.
import { aliasStatus, type Health } from './alias.ts'
import { type Expanded, withPort } from './proxy-block.ts'
import { invalid, Refusal } from './refusal.ts'
import type { CheckRow, Origin, Row, Status } from './rows.ts'
import type { State, Transaction } from './state.ts'

export interface PortRange {
  readonly first: number
  readonly last: number
}

export interface CatalogOptions {
  readonly state: State
  readonly sidecarPorts: PortRange
  readonly managedPorts: PortRange
  /** The agent's own, which it may not listen on yet: proxies are placed before it serves. */
  readonly ownPorts: readonly number[]
  /** Whether anything listens on a port: one of a managed proxy must really be free. */
  readonly isFree: (port: number) => Promise<boolean>
  readonly random?: () => number
}

export interface RegisterOptions {
  /** Drops checks that the definition no longer has. */
  readonly replaceChecks?: boolean
}

export class Catalog {
  readonly #options: CatalogOptions
  readonly #state: State
  #registering: Promise<unknown> = Promise.resolve()

  constructor(options: CatalogOptions) {
    this.#options = options
    this.#state = options.state
  }

  /**
   * Registers an instance, and what it brings; what it brought before and does not now goes.
   * @throws Refusal
   */
  register(expanded: readonly Expanded[], options: RegisterOptions = {}): Promise<void> {
    // One at a time: two must not choose the same port while one of them looks whether it is free.
    const registered = this.#registering.then(() => this.#register(expanded, options))
    this.#registering = registered.catch(() => {})
    return registered
  }

  async #register(expanded: readonly Expanded[], options: RegisterOptions): Promise<void> {
    const placed: Expanded[] = []
    for (const one of expanded)
      placed.push(one.portFrom === undefined ? one : withPort(one, await this.#choosePort(one)))
    this.#state.write(transaction => {
      const parent = placed[0]?.service.ID ?? ''
      const kept = new Set(placed.map(({ service }) => service.ID))
      for (const child of this.#childrenOf(parent))
        if (!kept.has(child.ID)) this.#remove(transaction, child.ID)
      for (const one of placed) this.#put(transaction, one, options)
      this.#refreshAliases(transaction)
    })
  }

  /** @returns whether there was one */
  deregister(id: string): boolean {
    const service = this.#state.get('service', id)
    if (service === undefined) return false
    if (service.managed !== undefined)
      throw new Refusal(
        400,
        `${id} is a managed proxy, which goes with its service: deregister the service ${service.parent} instead`,
      )
    this.#state.write(transaction => {
      for (const child of this.#childrenOf(id)) this.#remove(transaction, child.ID)
      this.#remove(transaction, id)
      this.#refreshAliases(transaction)
    })
    return true
  }

  putCheck(check: CheckRow): void {
    this.#state.write(transaction => {
      const before = this.#state.get('check', check.CheckID)
      transaction.put('check', check.CheckID, keepingStatus(check, before))
      this.#refreshAliases(transaction)
    })
  }

  deregisterCheck(id: string): void {
    this.#state.write(transaction => {
      transaction.delete('check', id)
      this.#refreshAliases(transaction)
    })
  }

  /** A check's result. What changes nothing is no write. */
  setStatus(id: string, status: Status, output: string): void {
    const check = this.#state.get('check', id)
    if (check === undefined || (check.Status === status && check.Output === output)) return
    this.#state.write(transaction => {
      transaction.put('check', id, { ...check, Status: status, Output: output })
      this.#refreshAliases(transaction)
    })
  }

  services(origin?: Origin): readonly Row<'service'>[] {
    return this.#state.all('service').filter(row => origin === undefined || row.origin === origin)
  }

  /** Of the instance alone, without those of the node. */
  checksOf(id: string): readonly Row<'check'>[] {
    return this.#state.all('check').filter(check => check.ServiceID === id)
  }

  nodeChecks(): readonly Row<'check'>[] {
    return this.#state.all('check').filter(check => check.ServiceID === '')
  }

  /** Instances by the name of their service. */
  instancesOf(name: string): readonly Row<'service'>[] {
    return this.#state.all('service').filter(row => row.Service === name)
  }

  /** Instances through which a service is reached by Connect: proxies for it, and native ones. */
  connectInstancesOf(name: string): readonly Row<'service'>[] {
    return this.#state
      .all('service')
      .filter(row => (row.Native ? row.Service === name : row.Proxy?.DestinationServiceName === name))
  }

  #childrenOf(id: string): readonly Row<'service'>[] {
    return this.#state.all('service').filter(row => row.parent === id)
  }

  #put(
    transaction: Transaction,
    { service, checks }: Expanded,
    { replaceChecks = false }: RegisterOptions,
  ): void {
    const kept = new Set(checks.map(({ CheckID }) => CheckID))
    for (const check of this.checksOf(service.ID)) {
      if (kept.has(check.CheckID)) continue
      // A sidecar's checks are always those of its definition, as its definition is that of its service.
      if (replaceChecks || (service.parent !== undefined && check.ofDefinition))
        transaction.delete('check', check.CheckID)
    }
    const before = this.#state.get('service', service.ID)
    if (!sameRow(before, service)) transaction.put('service', service.ID, service)
    for (const check of checks) {
      const old = this.#state.get('check', check.CheckID)
      const next = keepingStatus(check, old)
      if (!sameRow(old, next)) transaction.put('check', check.CheckID, next)
    }
  }

  #remove(transaction: Transaction, id: string): void {
    for (const check of this.checksOf(id)) transaction.delete('check', check.CheckID)
    transaction.delete('service', id)
  }

  #refreshAliases(transaction: Transaction): void {
    const checks = this.#state.all('check')
    for (const check of checks) {
      if (check.probe.by !== 'alias') continue
      const { service } = check.probe
      const of: readonly Health[] = checks.filter(
        other => other.ServiceID === service && other.probe.by !== 'alias',
      )
      const { Status, Output } = aliasStatus(of)
      if (check.Status !== Status || check.Output !== Output)
        transaction.put('check', check.CheckID, { ...check, Status, Output })
    }
  }

  /** The agent's, those of other instances, and those that proxies bind for their upstreams: one that is not started yet would find its port gone. */
  #takenPorts(except: string): Set<number> {
    const others = this.#state.all('service').filter(({ ID }) => ID !== except)
    return new Set([
      ...this.#options.ownPorts,
      ...others.flatMap(row => [
        row.Port,
        ...(row.Proxy?.Upstreams ?? []).map(({ LocalBindPort }) => LocalBindPort),
      ]),
    ])
  }

  async #choosePort({ service, portFrom }: Expanded): Promise<number> {
    const taken = this.#takenPorts(service.ID)
    // Its own upstreams' are not registered yet.
    for (const { LocalBindPort } of service.Proxy?.Upstreams ?? []) taken.add(LocalBindPort)
    const before = this.#state.get('service', service.ID)
    if (before?.parent !== undefined && before.Port !== 0 && !taken.has(before.Port)) return before.Port
    const managed = portFrom === 'managed'
    const { first, last } = managed ? this.#options.managedPorts : this.#options.sidecarPorts
    const what = managed ? 'connect.proxy' : 'sidecar_service'
    if (first === 0) throw invalid(`no port provided for ${what} and auto-assignment disabled in config`)
    const ports = Array.from({ length: last - first + 1 }, (_, at) => first + at).filter(
      port => !taken.has(port),
    )
    if (managed) shuffle(ports, this.#options.random ?? Math.random)
    for (const port of ports) if (!managed || (await this.#options.isFree(port))) return port
    throw invalid(`no port provided for ${what} and none left in the configured range [${first}, ${last}]`)
  }
}

/** A check that was there before goes on from its last result, however the definition says that it begins. */
function keepingStatus(check: CheckRow, before: CheckRow | undefined): CheckRow {
  return before === undefined ? check : { ...check, Status: before.Status, Output: before.Output }
}

function sameRow<T extends object>(before: Row<'service'> | Row<'check'> | undefined, after: T): boolean {
  if (before === undefined) return false
  const { CreateIndex, ModifyIndex, ...row } = before
  return JSON.stringify(row) === JSON.stringify(after)
}

function shuffle(list: number[], random: () => number): void {
  for (let at = list.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1))
    ;[list[at], list[other]] = [list[other] as number, list[at] as number]
  }
}
