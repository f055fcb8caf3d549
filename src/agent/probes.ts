// One look of a health check, by TCP or HTTP: what it found, as a status and a line that says why. Knows no catalog.
import { connect } from 'node:net'
import { Pool } from 'undici'
import { errorCode } from '../errors.ts'
import type { Probe, Status } from './rows.ts'

export interface Finding {
  readonly status: Status
  readonly output: string
}

type TcpProbe = Extract<Probe, { by: 'tcp' }>
type HttpProbe = Extract<Probe, { by: 'http' }>

// As much of a body as Consul keeps.
const mostOutput = 4_096

export function look(probe: TcpProbe | HttpProbe, signal: AbortSignal): Promise<Finding> {
  return probe.by === 'tcp' ? lookByTcp(probe, signal) : lookByHttp(probe, signal)
}

function lookByTcp({ target, timeoutMs }: TcpProbe, signal: AbortSignal): Promise<Finding> {
  const [, host = '', port = ''] = /^(.*):([0-9]+)$/.exec(target) ?? []
  if (host === '' || Number(port) < 1 || Number(port) > 65_535)
    return Promise.resolve({ status: 'critical', output: `TCP target: got ${target}, expected host:port` })
  return new Promise(resolve => {
    const socket = connect({ host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port) })
    const end = (finding: Finding) => {
      clearTimeout(limit)
      signal.removeEventListener('abort', aborted)
      socket.destroy()
      resolve(finding)
    }
    const aborted = () => end({ status: 'critical', output: 'given up' })
    const limit = setTimeout(
      () => end({ status: 'critical', output: `dial tcp ${target}: i/o timeout` }),
      timeoutMs,
    )
    signal.addEventListener('abort', aborted)
    socket.once('connect', () => end({ status: 'passing', output: `TCP connect ${target}: Success` }))
    socket.once('error', error =>
      end({ status: 'critical', output: `dial tcp ${target}: ${errorCode(error)}` }),
    )
  })
}

async function lookByHttp(probe: HttpProbe, signal: AbortSignal): Promise<Finding> {
  const { url, method, headers, body, skipVerify, timeoutMs } = probe
  let pool: Pool | undefined
  try {
    const { origin, pathname, search } = new URL(url)
    pool = new Pool(origin, { connections: 1, connect: { rejectUnauthorized: !skipVerify } })
    const answer = await pool.request({
      path: `${pathname}${search}`,
      method: method as 'GET',
      headers: { accept: 'text/plain, text/*, */*', ...lists(headers) },
      ...(body !== '' && { body }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    })
    const text = await firstOf(answer.body)
    const { statusCode } = answer
    const status =
      statusCode >= 200 && statusCode < 300 ? 'passing' : statusCode === 429 ? 'warning' : 'critical'
    return { status, output: `HTTP ${method} ${url}: ${statusCode} Output: ${text}` }
  } catch (error) {
    return { status: 'critical', output: `HTTP ${method} ${url}: ${errorCode(error)}` }
  } finally {
    await pool?.destroy()
  }
}

function lists(headers: HttpProbe['headers']): Record<string, string[]> {
  return Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, [...values]]))
}

/** An answer without an end is no reason to keep it. */
async function firstOf(body: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const chunk of body) {
    text += chunk.toString()
    if (text.length >= mostOutput) break
  }
  return text.slice(0, mostOutput)
}
