// An agent whose answers a test writes: for what a real one can't be made to say on demand, or says in another version only.
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { parseAgentAddress } from '../../src/consul/agent-address.ts'
import { type Answer, ConsulClient } from '../../src/consul/client.ts'

export interface WrittenAnswer {
  readonly status?: number
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** `answer` is asked for each request; what it returns may come later, as a blocking query's does. */
export async function writtenAgent(
  t: TestContext,
  answer: (
    path: string,
    query: URLSearchParams,
    request: IncomingMessage,
  ) => WrittenAnswer | Promise<WrittenAnswer>,
): Promise<ConsulClient> {
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://agent')
    const { status = 200, body, headers } = await answer(url.pathname, url.searchParams, request)
    response.writeHead(status, headers)
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = parseAgentAddress(`127.0.0.1:${(server.address() as AddressInfo).port}`, { tls: false })
  const client = new ConsulClient({ address, token: () => undefined })
  t.after(async () => {
    await client.close()
    server.closeAllConnections()
    server.close()
  })
  return client
}

/** What a parser of answers takes. */
export function answerOf(body: unknown): Answer {
  return {
    status: 200,
    body,
    index: 1,
    contentHash: undefined,
    defaultPolicy: undefined,
    filteredByAcls: false,
  }
}
