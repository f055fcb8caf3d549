// What a caller may do, as its token or the lack of one says.

/** What a caller may do. */
export interface Rights {
  /** Of its token; empty for none. */
  readonly accessor: string
  /** Everything. */
  readonly management: boolean
  /** Take part as this service: its leaf, and the question who may reach it. */
  represents(service: string): boolean
  /** Register, change and take back a service of this name. */
  writes(service: string): boolean
  /** See a service of this name in the catalog. */
  reads(service: string): boolean
  /** See a registration on this agent. */
  readsInstance(service: { readonly ID: string; readonly Service: string }): boolean
  /** See the node and its health. */
  readonly readsNodes: boolean
}

/** Without the accessor, which is a token's own. */
export type Grants = Omit<Rights, 'accessor'>

export const everything: Grants = {
  management: true,
  represents: () => true,
  writes: () => true,
  reads: () => true,
  readsInstance: () => true,
  readsNodes: true,
}

export const nothing: Grants = {
  management: false,
  represents: () => false,
  writes: () => false,
  reads: () => false,
  readsInstance: () => false,
  readsNodes: false,
}

/** With `default_policy` allow: what is not forbidden, short of what needs a token by its nature. */
export const everyday: Grants = { ...everything, management: false }
