// Services with sidecars that flags alone describe, in a mesh of a real agent.
import type { TestContext } from 'node:test'
import { type Address, formatAddress } from '../../src/address.ts'
import type { ConsulAgent } from './consul-agent.ts'
import { type App, echo, openApp } from './ends.ts'
import { freePort } from './free-ports.ts'
import { type MeshSidecar, startMeshSidecar } from './mesh.ts'
import { eventually } from './running-sidecar.ts'

export interface AgentCheck {
  readonly CheckID: string
  readonly Name: string
  readonly Status: string
  readonly Output: string
  readonly Type: string
  readonly ServiceID: string
  readonly ServiceName: string
}

export interface Registered {
  readonly app: App
  readonly sidecar: MeshSidecar
  readonly listen: Address
}

/** A service with an app that echoes, and a sidecar that registers itself; not waited for. */
export async function launchRegistered(
  t: TestContext,
  agent: ConsulAgent,
  { service = 'db', args = [] }: { readonly service?: string; readonly args?: readonly string[] } = {},
): Promise<Registered> {
  const app = await openApp(t, { serve: echo })
  const listen = await freePort()
  const serves = ['-listen', formatAddress(listen), '-service-addr', formatAddress(app.address)]
  const sidecar = await startMeshSidecar(t, agent, ['-service', service, ...serves, '-register', ...args])
  return { app, sidecar, listen }
}

export async function checkOf(agent: ConsulAgent, id: string): Promise<AgentCheck | undefined> {
  const checks = await agent.call<Record<string, AgentCheck>>('GET', '/v1/agent/checks')
  return checks[id]
}

/** Waits until the agent's record of the check has this status. */
export function checkBecomes(agent: ConsulAgent, id: string, status: string): Promise<AgentCheck> {
  return eventually(async () => {
    const check = await checkOf(agent, id)
    return check?.Status === status && check
  }, `${id} to be ${status}`)
}
