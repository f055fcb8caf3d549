// Consul's built-in proxy with a real agent in development mode and a thousand intentions. Its certificates are the agent's.
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Identities, IdentityFiles } from '../../src/bench/identities.ts'
import { freeAddress } from '../../src/bench/ports.ts'
import { ProxyProcess } from '../../src/bench/process.ts'
import { type Peer, portOf, type Setup, versionOf } from '../peer.ts'

const program = join(
  process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
  'sidesplice',
  'consul',
  'consul',
)
const otherIntentions = 999
const leaderLimitMs = 30_000

export const consul: Peer = {
  name: 'consul',
  title: 'Consul built-in',
  kind: 'tls',
  holdsIdle: true,
  missing: () => (existsSync(program) ? undefined : 'consul 1.8.7 is not there (npm run test:setup)'),
  version: () => versionOf(program, ['version']),
  open: async setup => {
    const { folder, app } = setup
    const [to, bAddress, http] = [await freeAddress(), await freeAddress(), await freeAddress()]
    const agent = await startAgent(folder, http)
    try {
      const ask = asker(http)
      await untilLeader(ask)
      await register(ask, { to, bAddress, app })
      await addIntentions(ask)
      const proxy = (service: string, listens: string) => ({
        command: program,
        args: ['connect', 'proxy', '-http-addr', http, '-sidecar-for', service],
        listens,
        log: join(folder, `${service}.log`),
      })
      return {
        to,
        bAddress,
        a: proxy('web', to),
        b: proxy('db', bAddress),
        identities: await fetchIdentities(ask, setup),
        close: () => agent.stop(),
      }
    } catch (error) {
      await agent.stop()
      throw error
    }
  },
}

type Ask = (method: string, path: string, body?: object) => Promise<unknown>

async function startAgent(folder: string, http: string): Promise<ProxyProcess> {
  const ports = [await freeAddress(), await freeAddress(), await freeAddress()].map(portOf)
  const file = join(folder, 'agent.json')
  await writeFile(file, '{ "disable_update_check": true }')
  const args = ['agent', '-dev', '-bind=127.0.0.1', '-client=127.0.0.1', '-node=bench', '-log-level=warn']
  args.push(`-http-port=${portOf(http)}`, '-grpc-port=-1', '-dns-port=-1', `-config-file=${file}`)
  args.push(`-serf-lan-port=${ports[0]}`, `-serf-wan-port=${ports[1]}`, `-server-port=${ports[2]}`)
  return ProxyProcess.start({ command: program, args, listens: http, log: join(folder, 'agent.log') })
}

function asker(http: string): Ask {
  return async (method, path, body) => {
    const response = await fetch(`http://${http}${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok)
      throw new Error(`consul: ${method} ${path}: got ${response.status} ${text}, expected 200`)
    return text.trim().startsWith('{') ? JSON.parse(text) : text
  }
}

async function untilLeader(ask: Ask): Promise<void> {
  for (const limit = performance.now() + leaderLimitMs; ; ) {
    try {
      await ask('GET', '/v1/agent/connect/ca/leaf/web')
      return
    } catch (error) {
      if (performance.now() > limit) throw error
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
}

async function register(
  ask: Ask,
  { to, bAddress, app }: { readonly to: string; readonly bAddress: string; readonly app: string },
): Promise<void> {
  const put = (service: object) => ask('PUT', '/v1/agent/service/register', service)
  await put({ Name: 'db', Address: '127.0.0.1', Port: portOf(app) })
  await put({ Name: 'web', Address: '127.0.0.1', Port: 1 })
  const proxy = (service: string, port: number, rest: object) => ({
    Kind: 'connect-proxy',
    Name: `${service}-sidecar-proxy`,
    Address: '127.0.0.1',
    Port: port,
    Proxy: { DestinationServiceName: service, DestinationServiceID: service, ...rest },
  })
  await put(proxy('db', portOf(bAddress), { LocalServicePort: portOf(app) }))
  const upstream = { DestinationName: 'db', LocalBindPort: portOf(to) }
  const unused = portOf(await freeAddress())
  await put(proxy('web', unused, { LocalServicePort: 1, Upstreams: [upstream] }))
}

async function addIntentions(ask: Ask): Promise<void> {
  const add = (SourceName: string, Action: string) =>
    ask('POST', '/v1/connect/intentions', { SourceName, DestinationName: 'db', Action })
  for (let at = 0; at < otherIntentions; at++) await add(`other-${at}`, 'deny')
  await add('web', 'allow')
}

/** For asking the chain what it negotiates: of the agent's CA, as the proxies' own are. */
async function fetchIdentities(ask: Ask, { folder, identities }: Setup): Promise<Identities> {
  const { Roots } = (await ask('GET', '/v1/agent/connect/ca/roots')) as {
    Roots: readonly { readonly RootCert: string }[]
  }
  const into = join(folder, 'identities')
  await mkdir(into, { recursive: true })
  const fetchOne = async (service: string): Promise<IdentityFiles> => {
    const leaf = (await ask('GET', `/v1/agent/connect/ca/leaf/${service}`)) as Record<string, string>
    const file = (end: string) => join(into, `${service}.${end}`)
    await writeFile(file('crt'), leaf.CertPEM ?? '')
    await writeFile(file('key'), leaf.PrivateKeyPEM ?? '', { mode: 0o600 })
    await writeFile(file('ca'), Roots.map(({ RootCert }) => RootCert).join('\n'))
    return { cert: file('crt'), key: file('key'), pem: '', ca: file('ca') }
  }
  return { web: await fetchOne('web'), db: await fetchOne('db'), stranger: identities.stranger }
}
