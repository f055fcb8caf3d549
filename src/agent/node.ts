// The one node that this agent is: its name, address and ID, as answers show it.
import { randomUUID } from 'node:crypto'
import type { Json } from '../consul/shape.ts'
import type { State } from './state.ts'

export interface NodeIdentity {
  readonly id: string
  readonly name: string
  readonly address: string
  readonly datacenter: string
  /** When it came. */
  readonly index: number
}

export interface NodeOptions {
  readonly name: string
  readonly address: string
  readonly datacenter: string
}

/** The ID stays with the state. */
export function readNode(state: State, options: NodeOptions): NodeIdentity {
  const row = state.get('setting', 'node')
  if (row !== undefined) return { id: String(row.value.id), index: row.CreateIndex, ...options }
  const id = randomUUID()
  state.write(transaction => transaction.put('setting', 'node', { value: { id } }))
  return { id, index: state.index, ...options }
}

/** `Node` in rows of /v1/health. */
export function nodeBody({ id, name, address, datacenter, index }: NodeIdentity): Json {
  return {
    ID: id,
    Node: name,
    Address: address,
    Datacenter: datacenter,
    TaggedAddresses: { lan: address, lan_ipv4: address, wan: address, wan_ipv4: address },
    Meta: { 'consul-network-segment': '' },
    CreateIndex: index,
    ModifyIndex: index,
  }
}
