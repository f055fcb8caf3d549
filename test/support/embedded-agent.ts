// The embedded agent within a test's own process, on a port of the kernel's choice.
import type { TestContext } from 'node:test'
import { EmbeddedAgent } from '../../src/agent/agent.ts'
import { canonical } from '../../src/agent/canonical.ts'
import { configSchema } from '../../src/agent/config-schema.ts'
import { type AgentSettings, agentSettings } from '../../src/agent/settings.ts'
import type { World } from '../../src/agent/world.ts'
import type { Json } from '../../src/consul/shape.ts'
import type { Log } from '../../src/proxy/log.ts'
import { noteSecret } from './secrets.ts'

export interface ApiAnswer {
  readonly status: number
  readonly text: string
  readonly headers: Headers
  readonly json: <T = never>() => T
}

export interface InProcessAgent {
  readonly agent: EmbeddedAgent
  readonly world: World
  readonly origin: string
  readonly log: readonly string[]
  call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<ApiAnswer>
}

export interface CallOptions {
  readonly token?: string
  readonly signal?: AbortSignal
}

export async function openAgent(t: TestContext, files: Json = {}): Promise<InProcessAgent> {
  const lines: string[] = []
  const settings: AgentSettings = agentSettings(canonical(files, configSchema) as Json, { dev: true })
  const agent = await EmbeddedAgent.open(
    { ...settings, http: { host: '127.0.0.1', port: 0 } },
    { log: logOf(lines), version: 'test' },
  )
  const { http: address } = await agent.serve()
  t.after(() => agent.close())
  const origin = `http://127.0.0.1:${address.port}`
  return {
    agent,
    world: agent.world,
    origin,
    log: lines,
    async call(method, path, body, { token, signal } = {}) {
      const response = await fetch(`${origin}${path}`, {
        method,
        ...(token !== undefined && { headers: { 'x-consul-token': token } }),
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
        ...(signal !== undefined && { signal }),
      })
      const text = await response.text()
      const { SecretID } = text.includes('SecretID') ? (JSON.parse(text) as { SecretID?: string }) : {}
      if (SecretID !== undefined && SecretID !== '<hidden>') noteSecret(SecretID)
      return { status: response.status, text, headers: response.headers, json: () => JSON.parse(text) }
    },
  }
}

function logOf(lines: string[]): Log {
  const say = (level: string) => (fields: object, message: string) => {
    lines.push(`${level} ${message} ${JSON.stringify(fields)}`)
  }
  return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
}
