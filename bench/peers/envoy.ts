// Envoy where its binary is on the PATH: a TCP proxy with TLS contexts, as its documentation on securing has them.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { benchId, type IdentityFiles } from '../../src/bench/identities.ts'
import { freeAddress } from '../../src/bench/ports.ts'
import type { ProcessSpec } from '../../src/bench/process.ts'
import { missingProgram, type Peer, portOf, versionOf } from '../peer.ts'

export const envoy: Peer = {
  name: 'envoy',
  title: 'Envoy',
  kind: 'tls',
  holdsIdle: true,
  missing: missingProgram('envoy'),
  version: () => versionOf('envoy', ['--version']),
  open: async ({ folder, app, identities }) => {
    const [to, bAddress] = [await freeAddress(), await freeAddress()]
    const upstreamTls = socket('UpstreamTlsContext', {
      sni: 'db',
      max_session_keys: 0,
      common_tls_context: context(identities.web, benchId('db')),
    })
    const downstreamTls = socket('DownstreamTlsContext', {
      require_client_certificate: true,
      disable_stateless_session_resumption: true,
      disable_stateful_session_resumption: true,
      common_tls_context: context(identities.db, benchId('web')),
    })
    const start = async (name: string, listens: string, bootstrap: object): Promise<ProcessSpec> => {
      const file = join(folder, `${name}.json`)
      await writeFile(file, JSON.stringify(bootstrap, null, 2))
      const args = ['-c', file, '--use-dynamic-base-id', '--log-level', 'warning']
      return { command: 'envoy', args, listens, log: join(folder, `${name}.log`) }
    }
    return {
      to,
      bAddress,
      a: await start('a', to, bootstrap(folder, { listens: to, target: bAddress, upstreamTls })),
      b: await start('b', bAddress, bootstrap(folder, { listens: bAddress, target: app, downstreamTls })),
    }
  },
}

interface Side {
  readonly listens: string
  readonly target: string
  readonly upstreamTls?: object
  readonly downstreamTls?: object
}

function bootstrap(folder: string, { listens, target, upstreamTls, downstreamTls }: Side): object {
  const proxy = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
    stat_prefix: 'bench',
    cluster: 'peer',
    access_log: [
      {
        name: 'envoy.access_loggers.file',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog',
          path: join(folder, `${portOf(listens)}.access.log`),
        },
      },
    ],
  }
  const chain = {
    filters: [{ name: 'envoy.filters.network.tcp_proxy', typed_config: proxy }],
    ...(downstreamTls !== undefined && { transport_socket: downstreamTls }),
  }
  const endpoint = { endpoint: { address: at(target) } }
  return {
    static_resources: {
      listeners: [{ name: 'in', address: at(listens), filter_chains: [chain] }],
      clusters: [
        {
          name: 'peer',
          type: 'STATIC',
          load_assignment: { cluster_name: 'peer', endpoints: [{ lb_endpoints: [endpoint] }] },
          ...(upstreamTls !== undefined && { transport_socket: upstreamTls }),
          // The default of 1,024 is for protecting a service, not for measuring.
          circuit_breakers: { thresholds: [{ max_connections: 20_000, max_pending_requests: 20_000 }] },
        },
      ],
    },
  }
}

function at(address: string): object {
  return { socket_address: { address: '127.0.0.1', port_value: portOf(address) } }
}

function socket(name: string, config: object): object {
  const type = `type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.${name}`
  return { name: 'envoy.transport_sockets.tls', typed_config: { '@type': type, ...config } }
}

function context({ cert, key, ca }: IdentityFiles, peer: string): object {
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [{ certificate_chain: { filename: cert }, private_key: { filename: key } }],
    validation_context: {
      trusted_ca: { filename: ca },
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: peer } }],
    },
  }
}
