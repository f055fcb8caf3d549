// Everything that an agent is made of, as its HTTP handlers and its commands use it.
import type { Authority } from './authority.ts'
import type { Catalog } from './catalog.ts'
import type { CheckRunner } from './check-runner.ts'
import type { IntentionRules } from './intention-rules.ts'
import type { Leaves } from './leaves.ts'
import type { AgentMetrics } from './metrics.ts'
import type { NodeIdentity } from './node.ts'
import type { Policies } from './policies.ts'
import type { Queries } from './queries.ts'
import type { State } from './state.ts'
import type { Tokens } from './tokens.ts'

export interface World {
  readonly state: State
  readonly node: NodeIdentity
  readonly catalog: Catalog
  readonly checks: CheckRunner
  readonly intentions: IntentionRules
  readonly authority: Authority
  readonly leaves: Leaves
  readonly tokens: Tokens
  readonly policies: Policies
  readonly queries: Queries
  readonly version: string
  readonly managed: ManagedSettings
  /** Where they are asked for by the configuration. */
  readonly metrics: AgentMetrics | undefined
}

/** What may start programs. */
export interface ManagedSettings {
  readonly allowApiRegistration: boolean
}
