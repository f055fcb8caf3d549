// The agent's state: rows by kind, one index that only grows, and those who wait for a change. A write is there for ever once it returns.
import type { Store } from './database.ts'
import { type Kind, kinds, type Row, type RowTypes } from './rows.ts'
import { type RowChange, topicsOf } from './topics.ts'

export interface Transaction {
  put<K extends Kind>(kind: K, id: string, row: RowTypes[K]): void
  delete(kind: Kind, id: string): void
  /** Wakes who waits for this, where no row says so. */
  touch(topic: string): void
}

interface Undo {
  readonly kind: Kind
  readonly id: string
  readonly before: Row<Kind> | undefined
}

// Consul's own is at about ten once it is up; one is what it answers where rights are missing, so that no answer of ours has it otherwise.
const firstIndex = 10

export class State {
  readonly #store: Store
  readonly #tables: { readonly [K in Kind]: Map<string, Row<Kind>> }
  readonly #topics = new Map<string, number>()
  readonly #waiting = new Map<string, Set<() => void>>()
  /** Of every topic that did not change since the agent is up: an index of its own is not stored. */
  readonly #floor: number
  #index: number
  #writing = false

  constructor(store: Store) {
    this.#store = store
    this.#tables = Object.fromEntries(kinds.map(kind => [kind, new Map()])) as never
    const { index, rows } = store.load()
    for (const { kind, id, value } of rows)
      this.#tables[kind as Kind]?.set(id, JSON.parse(value) as Row<Kind>)
    this.#index = Math.max(index, firstIndex)
    this.#floor = this.#index
  }

  get index(): number {
    return this.#index
  }

  get<K extends Kind>(kind: K, id: string): Row<K> | undefined {
    return this.#tables[kind].get(id) as Row<K> | undefined
  }

  all<K extends Kind>(kind: K): readonly Row<K>[] {
    return [...this.#tables[kind].values()] as unknown as Row<K>[]
  }

  /** Of the newest change to any of them. */
  indexOf(topics: readonly string[]): number {
    return Math.max(...topics.map(topic => this.#topics.get(topic) ?? this.#floor))
  }

  /**
   * All of what `change` does, or nothing where it throws. One index for the whole.
   * @throws what the change throws, and where the disk refuses
   */
  write<T>(change: (transaction: Transaction) => T): T {
    if (this.#writing) throw new Error('a write within a write')
    this.#writing = true
    const index = this.#index + 1
    const undo: Undo[] = []
    const touched = new Set<string>()
    try {
      const result = change({
        put: (kind, id, row) => {
          const before = this.#tables[kind].get(id)
          const next = { ...row, CreateIndex: before?.CreateIndex ?? index, ModifyIndex: index }
          undo.push({ kind, id, before })
          this.#tables[kind].set(id, Object.freeze(next) as unknown as Row<Kind>)
        },
        delete: (kind, id) => {
          const before = this.#tables[kind].get(id)
          if (before === undefined) return
          undo.push({ kind, id, before })
          this.#tables[kind].delete(id)
        },
        touch: topic => touched.add(topic),
      })
      if (undo.length === 0 && touched.size === 0) return result
      this.#commit(index, undo, touched)
      return result
    } catch (error) {
      for (const { kind, id, before } of undo.toReversed()) {
        if (before === undefined) this.#tables[kind].delete(id)
        else this.#tables[kind].set(id, before)
      }
      throw error
    } finally {
      this.#writing = false
    }
  }

  /** Resolves once one of the topics is beyond the index, after the time, or when the signal comes. */
  wait(topics: readonly string[], options: WaitOptions): Promise<void> {
    const { index, ms, signal } = options
    if (this.indexOf(topics) > index || signal.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const done = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        for (const topic of topics) {
          const waiting = this.#waiting.get(topic)
          waiting?.delete(done)
          if (waiting?.size === 0) this.#waiting.delete(topic)
        }
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal.addEventListener('abort', done)
      for (const topic of topics) {
        const waiting = this.#waiting.get(topic) ?? new Set()
        this.#waiting.set(topic, waiting.add(done))
      }
    })
  }

  /** How many wait now. */
  get waiting(): number {
    return new Set([...this.#waiting.values()].flatMap(waiting => [...waiting])).size
  }

  close(): void {
    this.#store.close()
  }

  #commit(index: number, undo: readonly Undo[], touched: ReadonlySet<string>): void {
    // The first state of each row, for a row may be changed twice in one write.
    const first = new Map<string, RowChange & { readonly id: string }>()
    for (const { kind, id, before } of undo) {
      const key = `${kind} ${id}`
      if (!first.has(key)) first.set(key, { kind, id, before, after: this.#tables[kind].get(id) })
    }
    const changes = [...first.values()]
    this.#store.commit(
      index,
      changes.map(({ kind, id, after }) => ({
        kind,
        id,
        ...(after !== undefined && { value: JSON.stringify(after) }),
      })),
    )
    this.#index = index
    const instance = (id: string) =>
      this.get('service', id) ?? (first.get(`service ${id}`)?.before as Row<'service'> | undefined)
    const topics = new Set([...touched, ...changes.flatMap(change => topicsOf(change, instance))])
    for (const topic of topics) this.#topics.set(topic, index)
    for (const topic of topics) for (const wake of [...(this.#waiting.get(topic) ?? [])]) wake()
  }
}

export interface WaitOptions {
  readonly index: number
  readonly ms: number
  readonly signal: AbortSignal
}
