// The counters of the JavaScript data plane: one record a listener, one an endpoint, changed in place.
import type { Counters, EndpointCounters, ListenerSpec } from '../interface.ts'
import { type AttemptOutcome, blamelessOutcomes } from '../reasons.ts'

export class EndpointTally implements EndpointCounters {
  open = 0
  dialing = 0
  attempts = 0
  failures = 0
  consecutiveFailures = 0
  failingSince = 0
  lastFailureAt = 0

  failed(outcome: AttemptOutcome): void {
    if (blamelessOutcomes.has(outcome)) return
    this.lastFailureAt = performance.now()
    if (this.consecutiveFailures === 0) this.failingSince = this.lastFailureAt
    this.failures++
    this.consecutiveFailures++
  }

  /** It carried a byte back, or a session to its clean end. */
  carried(): void {
    this.consecutiveFailures = 0
  }
}

// Endpoints come and go with the catalog; one that nothing uses is forgotten past this many.
const keptEndpoints = 256

export class ListenerTally {
  readonly name: string
  readonly direction: ListenerSpec['direction']
  listening = false
  accepted = 0
  open = 0
  waiting = 0
  bytesToUpstream = 0
  bytesToDownstream = 0
  readonly endpoints = new Map<string, EndpointTally>()

  constructor(spec: ListenerSpec) {
    this.name = spec.name
    this.direction = spec.direction
  }

  endpoint(name: string): EndpointTally {
    const known = this.endpoints.get(name)
    if (known !== undefined) return known
    if (this.endpoints.size >= keptEndpoints) this.#forgetUnused()
    const made = new EndpointTally()
    this.endpoints.set(name, made)
    return made
  }

  #forgetUnused(): void {
    for (const [name, endpoint] of this.endpoints) if (endpoint.open === 0) this.endpoints.delete(name)
  }
}

export class Tally implements Counters {
  readonly listeners = new Map<string, ListenerTally>()

  /** A listener whose name changed counts from zero: its series is another one. */
  of(spec: ListenerSpec): ListenerTally {
    const known = this.listeners.get(spec.key)
    if (known !== undefined && known.name === spec.name) return known
    // The former one stays, under a key that no listener has, until its last session has ended.
    if (known !== undefined && known.open > 0) this.listeners.set(`${spec.key} (former ${known.name})`, known)
    const made = new ListenerTally(spec)
    this.listeners.set(spec.key, made)
    return made
  }

  /** Drops what no listener and no session uses any more. */
  prune(keys: ReadonlySet<string>): void {
    for (const [key, listener] of this.listeners)
      if (listener.open === 0 && !keys.has(key)) this.listeners.delete(key)
  }
}
