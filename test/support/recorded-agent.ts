// Stands between one proxy and its agent: passes every call on, and keeps what was asked and answered.
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

export interface RecordedCall {
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly body: string
  readonly status: number
}

export class RecordedAgent {
  readonly address: string
  /** Those that were answered, a blocking one when its answer came. */
  readonly calls: RecordedCall[] = []

  constructor(address: string) {
    this.address = address
  }

  to(path: string): readonly RecordedCall[] {
    return this.calls.filter(call => call.path.startsWith(path))
  }
}

export async function recordAgent(
  t: TestContext,
  agent: { readonly address: string },
): Promise<RecordedAgent> {
  const connections = new Agent({ keepAlive: true })
  const server = createServer((asked, answer) => {
    const { method = '', url: path = '', headers } = asked
    let body = ''
    const passed = request(
      `http://${agent.address}${path}`,
      { method, headers, agent: connections },
      answered => {
        const status = answered.statusCode ?? 0
        // Noted before the proxy can act upon the answer.
        recorded.calls.push({ method, path, body, status })
        answer.writeHead(status, answered.headers)
        answered.pipe(answer)
      },
    )
    passed.on('error', () => answer.destroy())
    answer.on('close', () => passed.destroy())
    asked.on('data', (chunk: Buffer) => {
      body += chunk
      passed.write(chunk)
    })
    asked.on('end', () => passed.end())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const recorded = new RecordedAgent(`127.0.0.1:${(server.address() as AddressInfo).port}`)
  t.after(() => {
    server.closeAllConnections()
    server.close()
    connections.destroy()
  })
  return recorded
}
