// The counters of the native data plane: kept by the engine, read when somebody looks.
import type { Counters, EndpointCounters, ListenerCounters, ListenerSpec } from '../interface.ts'
import type { Engine } from './addon.ts'

class NativeListenerCounters implements ListenerCounters {
  readonly id: number
  readonly name: string
  readonly direction: ListenerSpec['direction']
  readonly #engine: Engine
  /** What is added to a time of the engine to make it one of performance.now(). */
  readonly #offsetMs: number
  readonly #isListening: () => boolean

  constructor(facts: {
    readonly engine: Engine
    readonly spec: ListenerSpec
    readonly offsetMs: number
    readonly isListening: () => boolean
  }) {
    this.#engine = facts.engine
    this.#offsetMs = facts.offsetMs
    this.#isListening = facts.isListening
    this.id = facts.engine.makeTally()
    this.name = facts.spec.name
    this.direction = facts.spec.direction
  }

  get listening(): boolean {
    return this.#isListening()
  }

  get accepted(): number {
    return this.#engine.readTally(this.id).accepted
  }

  get open(): number {
    return this.#engine.readTally(this.id).open
  }

  get waiting(): number {
    return this.#engine.readTally(this.id).waiting
  }

  get bytesToUpstream(): number {
    return this.#engine.readTally(this.id).bytesToUpstream
  }

  get bytesToDownstream(): number {
    return this.#engine.readTally(this.id).bytesToDownstream
  }

  get endpoints(): ReadonlyMap<string, EndpointCounters> {
    return new Map(
      this.#engine.readEndpoints(this.id).map(({ name, failingSince, lastFailureAt, ...counts }) => [
        name,
        {
          ...counts,
          failingSince: failingSince === 0 ? 0 : failingSince + this.#offsetMs,
          lastFailureAt: lastFailureAt === 0 ? 0 : lastFailureAt + this.#offsetMs,
        },
      ]),
    )
  }
}

export class NativeTally implements Counters {
  readonly listeners = new Map<string, NativeListenerCounters>()
  readonly #engine: Engine
  readonly #offsetMs: number
  readonly #isListening: (key: string) => boolean

  constructor(engine: Engine, isListening: (key: string) => boolean) {
    this.#engine = engine
    this.#isListening = isListening
    this.#offsetMs = performance.now() - engine.nowMs()
  }

  get bufferBytes(): number {
    return this.#engine.ownedBytes()
  }

  /** The engine's number of the listener's counters. A listener whose name changed counts from zero: its series is another one. */
  of(spec: ListenerSpec): number {
    const known = this.listeners.get(spec.key)
    if (known !== undefined && known.name === spec.name) return known.id
    // The former one stays, under a key that no listener has, until its last session has ended.
    if (known !== undefined && known.open > 0) this.listeners.set(`${spec.key} (former ${known.name})`, known)
    const made = new NativeListenerCounters({
      engine: this.#engine,
      spec,
      offsetMs: this.#offsetMs,
      isListening: () => this.listeners.get(spec.key) === made && this.#isListening(spec.key),
    })
    this.listeners.set(spec.key, made)
    return made.id
  }

  /** Drops what no listener and no session uses any more. */
  prune(keys: ReadonlySet<string>): void {
    for (const [key, listener] of this.listeners) {
      if (keys.has(key) || listener.open > 0) continue
      this.listeners.delete(key)
      this.#engine.dropTally(listener.id)
    }
  }
}
