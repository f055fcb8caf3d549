// What a supervisor asks of a real Consul agent: registrations, and tokens where it makes them itself.
import type { ConsulClient } from '../consul/client.ts'
import { type Json, list, object, optionalObject, optionalText, text } from '../consul/shape.ts'
import { SidespliceError } from '../errors.ts'
import type { GivenToken } from './managed-process.ts'

export interface RegisteredService {
  readonly id: string
  readonly name: string
  readonly kind: string
  readonly port: number
  readonly meta: Json
  readonly upstreams: number
}

/** A token as a login, or a look at it, shows it. */
export interface LoginToken extends GivenToken {
  /** By the agent's clock; none where it does not expire. */
  readonly lifetime?: { readonly fromAt: number; readonly untilAt: number }
}

/** It answered, and not with 200. */
export class AgentRefusal extends SidespliceError {
  readonly status: number

  constructor(status: number, message: string) {
    super(message, { source: 'consul', code: 'agent_refused' })
    this.status = status
  }
}

const answerMs = 10_000

export class ConsulAgentCalls {
  readonly #client: ConsulClient

  constructor(client: ConsulClient) {
    this.#client = client
  }

  async services(): Promise<ReadonlyMap<string, RegisteredService>> {
    const services = object(await this.#send('GET', '/v1/agent/services'), 'services')
    return new Map(
      Object.entries(services).map(([id, value]) => {
        const row = object(value, id)
        const port = typeof row.Port === 'number' ? row.Port : 0
        const proxy = optionalObject(row.Proxy, `${id}.Proxy`)
        return [
          id,
          {
            ...{
              id,
              port,
              name: text(row.Service, `${id}.Service`),
              kind: optionalText(row.Kind, `${id}.Kind`),
            },
            meta: optionalObject(row.Meta, `${id}.Meta`),
            upstreams: list(proxy.Upstreams, `${id}.Proxy.Upstreams`).length,
          },
        ]
      }),
    )
  }

  async register(body: object): Promise<void> {
    await this.#send('PUT', '/v1/agent/service/register', body)
  }

  async deregister(id: string): Promise<void> {
    await this.#send('PUT', `/v1/agent/service/deregister/${encodeURIComponent(id)}`)
  }

  /** With the identity of one service. */
  async makeToken(service: string, description: string): Promise<GivenToken> {
    const body = { Description: description, ServiceIdentities: [{ ServiceName: service }] }
    const made = object(await this.#send('PUT', '/v1/acl/token', body), 'token')
    return { accessor: text(made.AccessorID, 'AccessorID'), secret: text(made.SecretID, 'SecretID') }
  }

  /** Accessors by description, of those whose description begins so. */
  async tokens(prefix: string): Promise<ReadonlyMap<string, string>> {
    const rows = list(await this.#send('GET', '/v1/acl/tokens'), 'tokens').map(row => object(row, 'token'))
    return new Map(
      rows
        .map(
          row => [text(row.AccessorID, 'AccessorID'), optionalText(row.Description, 'Description')] as const,
        )
        .filter(([, description]) => description.startsWith(prefix)),
    )
  }

  async deleteToken(accessor: string): Promise<void> {
    await this.#send('DELETE', `/v1/acl/token/${encodeURIComponent(accessor)}`)
  }

  /** By an auth method of Consul's. */
  async login(method: string, bearer: string, proxy: string): Promise<LoginToken> {
    const body = { AuthMethod: method, BearerToken: bearer, Meta: { proxy } }
    return loginToken(await this.#send('POST', '/v1/acl/login', body))
  }

  /** The token that the client itself has. @throws AgentRefusal of 403 where it is none any more */
  async self(): Promise<LoginToken> {
    return loginToken(await this.#send('GET', '/v1/acl/token/self'))
  }

  /** Of the token that the client itself has. */
  async logout(): Promise<void> {
    await this.#send('POST', '/v1/acl/logout')
  }

  async #send(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: object): Promise<unknown> {
    const answer = await this.#client.send({
      ...{ lane: 'short', method, path, timeoutMs: answerMs },
      ...(body !== undefined && { body }),
    })
    if (answer.status === 200) return answer.body
    const said = typeof answer.body === 'string' ? answer.body.trim() : ''
    throw new AgentRefusal(answer.status, `${method} ${path}: ${answer.status} ${said}`)
  }
}

function loginToken(answer: unknown): LoginToken {
  const made = object(answer, 'token')
  const at = (key: string) => Date.parse(optionalText(made[key], key))
  const lifetime = { fromAt: at('CreateTime'), untilAt: at('ExpirationTime') }
  return {
    ...{ accessor: text(made.AccessorID, 'AccessorID'), secret: text(made.SecretID, 'SecretID') },
    ...(lifetime.untilAt > lifetime.fromAt && { lifetime }),
  }
}
