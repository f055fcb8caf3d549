// A whole agent from written answers, for versions of Consul that are not at hand: it keeps what a test has told it, lets questions
// block by index or by hash as an agent does, and notes what it was asked. Knows no shape: those are in consul-eras.ts.
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { parseAgentAddress } from '../../src/consul/agent-address.ts'
import { type ClientOptions, ConsulClient } from '../../src/consul/client.ts'

export interface Written {
  readonly body: unknown
  readonly status?: number
  /** How it blocks; not at all unless said so. */
  readonly by?: 'index' | 'hash'
  /** Its index; counted on with each change unless it is given. */
  readonly index?: number
  readonly headers?: Readonly<Record<string, string>>
}

export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
}

export interface WrittenMeshOptions {
  /** On every answer, whatever its status. */
  readonly headers?: Readonly<Record<string, string>>
  /** On answers that servers gave: those with an index. */
  readonly serverHeaders?: Readonly<Record<string, string>>
  readonly pretty?: boolean
}

interface Kept extends Written {
  readonly index: number
  readonly hash: string
}

const firstIndex = 20

export class WrittenMesh {
  readonly address: string
  readonly asked: Asked[] = []
  readonly #options: WrittenMeshOptions
  readonly #answers = new Map<string, Kept>()
  readonly #waiting = new Map<string, Set<() => void>>()
  #index = firstIndex

  constructor(address: string, options: WrittenMeshOptions) {
    this.address = address
    this.#options = options
  }

  /** Says it from now on, also to whoever waits for news of it. */
  say(path: string, written: Written): void {
    this.#index = written.index ?? this.#index + 1
    const hash = createHash('sha1').update(goJson(written.body)).digest('hex').slice(0, 16)
    this.#answers.set(path, { ...written, index: this.#index, hash })
    const waiting = this.#waiting.get(path) ?? []
    this.#waiting.delete(path)
    for (const wake of waiting) wake()
  }

  /** How many questions for it are under way. */
  waiting(path: string): number {
    return this.#waiting.get(path)?.size ?? 0
  }

  askedFor(path: string): readonly Asked[] {
    return this.asked.filter(asked => asked.path === path)
  }

  client(t: TestContext, options: Partial<ClientOptions> = {}): ConsulClient {
    const address = parseAgentAddress(this.address, { tls: false })
    const client = new ConsulClient({ address, token: () => undefined, ...options })
    t.after(() => client.close())
    return client
  }

  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://agent')
    const query = url.searchParams
    // `/match` is told apart by what it asks for.
    const name = query.get('name')
    const path = name === null ? url.pathname : `${url.pathname}?name=${name}`
    this.asked.push({ method: request.method ?? '', path, query })
    request.resume()
    const kept = this.#answers.get(path)
    const cursor = kept?.by === 'hash' ? kept.hash : String(kept?.index)
    if (kept?.by !== undefined && query.get(kept.by) === cursor) await this.#news(path, response)
    if (!response.destroyed) this.#send(this.#answers.get(path), response)
  }

  #news(path: string, response: ServerResponse): Promise<void> {
    const waiting = this.#waiting.get(path) ?? new Set()
    this.#waiting.set(path, waiting)
    return new Promise(resolve => {
      waiting.add(resolve)
      response.on('close', () => {
        waiting.delete(resolve)
        resolve()
      })
    })
  }

  #send(kept: Kept | undefined, response: ServerResponse): void {
    const { headers, serverHeaders, pretty } = this.#options
    const { status, body, by, index, hash } = kept ?? { status: 404, body: '', index: 0, hash: '' }
    response.writeHead(status ?? 200, {
      ...headers,
      // As Go writes them.
      ...(by === 'index' && { 'X-Consul-Index': String(index), ...serverHeaders }),
      ...(by === 'hash' && { 'X-Consul-Contenthash': hash }),
      ...kept?.headers,
    })
    if (typeof body === 'string') response.end(body)
    else response.end(pretty === true ? `${goJson(body, 4)}\n` : goJson(body))
  }
}

/** As Go's encoder writes it, which escapes what HTML would read; a serial of 64 bits is written as a number. */
function goJson(body: unknown, indent?: number): string {
  return JSON.stringify(body, (_, value) => (typeof value === 'bigint' ? `bigint:${value}` : value), indent)
    .replace(/"bigint:(\d+)"/g, '$1')
    .replace(/[<>&]/g, found => `\\u00${found.charCodeAt(0).toString(16)}`)
}

export async function startWrittenMesh(
  t: TestContext,
  options: WrittenMeshOptions = {},
): Promise<WrittenMesh> {
  const server = createServer((request, response) => void mesh.answer(request, response))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const mesh = new WrittenMesh(`127.0.0.1:${(server.address() as AddressInfo).port}`, options)
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return mesh
}
