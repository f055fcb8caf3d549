// What a caller may do, as its token or the lack of one says: a right of its own for each thing that a route does.

/** What a caller may do. */
export interface Rights {
  /** Of its token; empty for none. */
  readonly accessor: string
  /** Take part as this service: its leaf, and the question who may reach it. */
  represents(service: string): boolean
  /** Register, change and take back a service of this name. */
  writes(service: string): boolean
  /** See a service of this name in the catalog. */
  reads(service: string): boolean
  /** See a registration on this agent. */
  readsInstance(service: { readonly ID: string; readonly Service: string }): boolean
  /** Ask whether one service may reach this one. */
  asksAbout(destination: string): boolean
  /** See intentions of this service, or with `*` of any. */
  readsIntentions(service: string): boolean
  /** Make, change and take back intentions for who may reach this service, or with `*` every service. */
  writesIntentions(destination: string): boolean
  /** See the prepared query of this name. */
  readsQuery(name: string): boolean
  writesQuery(name: string): boolean
  /** See the node and its health. */
  readonly readsNodes: boolean
  /** Its checks that are of no service, and its maintenance. */
  readonly writesNodes: boolean
  /** The agent's own configuration and metrics. */
  readonly readsAgent: boolean
  /** The CA's configuration. */
  readonly writesOperator: boolean
  /** Tokens and policies. Whoever writes them can give itself everything. */
  readonly readsTokens: boolean
  readonly writesTokens: boolean
}

/** Without the accessor, which is a token's own. */
export type Grants = Omit<Rights, 'accessor'>

export const everything: Grants = all(true)
export const nothing: Grants = all(false)

/** With `default_policy` allow: what is not forbidden, short of what needs a token by its nature. */
export const everyday: Grants = { ...everything, readsTokens: false, writesTokens: false }

/** Of a managed proxy: its own configuration, its service's identity, and finding upstreams; nothing that changes anything. */
export function grantsOfProxy(proxy: string, target: string): Grants {
  const own = (service: string) => service === target
  return {
    ...nothing,
    represents: own,
    reads: () => true,
    readsInstance: ({ ID }) => ID === proxy,
    asksAbout: own,
    // Those of every service say what holds for its own as well.
    readsIntentions: service => own(service) || service === '*',
    readsNodes: true,
  }
}

function all(yes: boolean): Grants {
  const answer = () => yes
  return {
    ...{ represents: answer, writes: answer, reads: answer, readsInstance: answer, asksAbout: answer },
    ...{ readsIntentions: answer, writesIntentions: answer, readsQuery: answer, writesQuery: answer },
    ...{ readsNodes: yes, writesNodes: yes, readsAgent: yes, writesOperator: yes },
    ...{ readsTokens: yes, writesTokens: yes },
  }
}
