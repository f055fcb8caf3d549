// The control side of a sidecar alone, within the test: everything that it follows at an agent, and each state that it makes of that.
import type { TestContext } from 'node:test'
import { RegistrationReader } from '../../src/config/registration.ts'
import type { ClientOptions } from '../../src/consul/client.ts'
import type { Log } from '../../src/proxy/log.ts'
import { Mesh } from '../../src/proxy/mesh.ts'
import type { DesiredState } from '../../src/snapshot/snapshot.ts'
import { until } from './until.ts'
import type { WrittenMesh } from './written-mesh.ts'

export class RunningMesh {
  readonly states: DesiredState[] = []
  /** What was said of the registration, and what was logged. */
  readonly warnings: string[] = []
  readonly mesh: Mesh

  constructor(t: TestContext, agent: WrittenMesh, proxyId: string, client: Partial<ClientOptions> = {}) {
    const note = (fields: object, text: string) => {
      this.warnings.push(`${text} ${JSON.stringify(fields)}`)
    }
    const log = { info: () => {}, warn: note, error: note } as unknown as Log
    this.mesh = new Mesh({
      client: agent.client(t, client),
      registration: { proxyId },
      reader: new RegistrationReader(new Map(), message => this.warnings.push(message)),
      log,
      onState: state => this.states.push(state),
    })
    this.mesh.start()
    t.after(() => this.mesh.close())
  }

  get last(): DesiredState | undefined {
    return this.states.at(-1)
  }

  /** The rules and the default that are in force. */
  get intentions() {
    const authorization = this.last?.inbound?.authorization
    return authorization?.by === 'intentions' ? authorization.intentions : undefined
  }

  whole(): Promise<true> {
    return until(() => this.mesh.missing().length === 0 && this.last !== undefined, 'everything to be known')
  }
}
