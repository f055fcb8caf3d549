// The two sample services: plain HTTP on loopback, knowing nothing of TLS.
import { createServer, request, type Server } from 'node:http'
import type { Address } from '../../address.ts'

/** Answers every request with a greeting. */
export function apiService(at: Address): Promise<Server> {
  return listen(
    createServer((_, response) => {
      response.setHeader('content-type', 'text/plain')
      response.end('hello from api\n')
    }),
    at,
  )
}

/** Answers with what it got from api, which it reaches at its own loopback. */
export function webService(at: Address, api: Address): Promise<Server> {
  return listen(
    createServer((_, response) => {
      response.setHeader('content-type', 'text/plain')
      const upstream = request({ host: api.host, port: api.port, agent: false }, answer => {
        response.write(
          `web asked api through its sidecar at ${api.host}:${api.port}, over mutual TLS, and got: `,
        )
        answer.pipe(response)
      })
      upstream.on('error', error => response.writeHead(502).end(`api can not be reached: ${error.message}\n`))
      upstream.end()
    }),
    at,
  )
}

function listen(server: Server, { host, port }: Address): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve(server))
  })
}
