// One data plane with a policy that a test writes by hand, and everything that it reported.
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { Address } from '../../src/address.ts'
import type {
  AdmitAnswer,
  AdmitQuestion,
  DataPlane,
  DataPlaneOptions,
  ListenerReport,
  ListenerSpec,
  Plan,
  PlannedAttempt,
  Refusal,
  RefusalReason,
  RouteAnswer,
  RouteQuestion,
  SessionRecord,
  SessionState,
  SessionView,
} from '../../src/data-plane/interface.ts'
import type { DataPlaneUnderTest } from './data-planes.ts'
import type { IssuedCertificate } from './pki.ts'
import { until } from './until.ts'

export type Answering<Q, A> = (question: Q, answer: (answer: A) => void) => void

/** Small enough for a quick suite, long enough for a busy machine. */
export const limits = {
  handshakeTimeoutMs: 10_000,
  halfCloseTimeoutMs: 5_000,
  idleTimeoutMs: 0,
  policyTimeoutMs: 10_000,
  maxWaiting: 1_024,
} as const

export type ListenerOptions = Partial<ListenerSpec> & Pick<ListenerSpec, 'direction'>

export class Sidecar {
  readonly plane: DataPlane
  readonly records: SessionRecord[] = []
  readonly admitQuestions: AdmitQuestion[] = []
  readonly routeQuestions: RouteQuestion[] = []
  readonly listenerReports: ListenerReport[] = []
  generation = 1
  admit: Answering<AdmitQuestion, AdmitAnswer>
  route: Answering<RouteQuestion, RouteAnswer>
  /** Of the records that name another than the one that is tested: they fail the test. */
  readonly #otherRelays: SessionRecord['relay'][] = []
  #taken = 0

  constructor(
    t: TestContext,
    under: DataPlaneUnderTest,
    options: Pick<DataPlaneOptions, 'keyExchange' | 'bufferMemory' | 'resumption'> = {},
  ) {
    this.admit = (question, answer) => answer(this.refusal(question, 'denied'))
    this.route = (question, answer) => answer(this.refusal(question, 'not_routed'))
    this.plane = under.open({
      ...options,
      policy: {
        admit: (questions, answer) => {
          for (const question of questions) {
            this.admitQuestions.push(question)
            this.admit(question, given => answer([given]))
          }
        },
        route: (questions, answer) => {
          for (const question of questions) {
            this.routeQuestions.push(question)
            this.route(question, given => answer([given]))
          }
        },
        ended: records => {
          for (const { relay, relayed, bytesToUpstream, bytesToDownstream } of records) {
            // One that carried nothing may have been closed by its peer before kernel TLS could have its keys.
            const carried = relayed && bytesToUpstream + bytesToDownstream > 0
            if (carried && relay !== under.otherwise && relay !== under.relay) this.#otherRelays.push(relay)
          }
          this.records.push(...records)
        },
      },
      onListener: report => {
        this.listenerReports.push(report)
      },
    })
    t.after(async () => {
      await this.plane.close()
      // Not where the record comes: that is a callback, of which no test hears.
      assert.deepEqual(this.#otherRelays, [], `sessions that ${under.relay} did not carry`)
    })
  }

  setIdentity(certificate: IssuedCertificate, ...roots: readonly IssuedCertificate[]): void {
    this.plane.setIdentity({
      generation: this.generation,
      chainPem: certificate.chainPem,
      privateKey: Buffer.from(certificate.keyPem),
      rootsPem: roots.map(root => root.certPem).join(''),
    })
  }

  listen(...listeners: readonly ListenerSpec[]): Promise<readonly ListenerReport[]> {
    return this.plane.setListeners({ generation: this.generation, listeners })
  }

  /** Listens at a port of the kernel's choice and tells where. */
  async listenAt(options: ListenerOptions): Promise<Address> {
    const [report] = await this.listen(listener(options))
    if (report === undefined || report.error !== undefined)
      throw new Error(`the listener did not come up: ${report?.error}`)
    return report.bind
  }

  admits(target: Address, { connectTimeoutMs = 10_000 } = {}): void {
    this.admit = (question, answer) => {
      const peer = question.uriSans[0] ?? ''
      answer({
        session: question.session,
        generation: this.generation,
        admitted: true,
        peer,
        target,
        connectTimeoutMs,
      })
    }
  }

  routes(attempts: readonly PlannedAttempt[], { connectTimeoutMs = 10_000 } = {}): void {
    this.route = (question, answer) => answer(this.plan(question, attempts, connectTimeoutMs))
  }

  plan({ session }: RouteQuestion, attempts: readonly PlannedAttempt[], connectTimeoutMs = 10_000): Plan {
    return { session, generation: this.generation, admitted: true, connectTimeoutMs, attempts }
  }

  refusal({ session }: { readonly session: number }, reason: RefusalReason): Refusal {
    return { session, generation: this.generation, admitted: false, reason }
  }

  /** The next record that no call has given yet, in the order of their delivery. */
  async record(): Promise<SessionRecord> {
    const at = this.#taken++
    return until(() => this.records[at], `record ${at}`)
  }

  /** Waits for a session in this state. */
  async session(state: SessionState): Promise<SessionView> {
    return until(
      () => this.plane.sessions().find(session => session.state === state),
      `a session that is ${state}`,
    )
  }

  /** Waits until no session lives. */
  async isQuiet(): Promise<void> {
    await until(() => this.plane.sessions().length === 0, 'no session to live')
  }
}

export function listener(options: ListenerOptions): ListenerSpec {
  const name = options.direction === 'inbound' ? 'public' : 'db'
  return { key: name, name, bind: { host: '127.0.0.1', port: 0 }, ...limits, ...options }
}
