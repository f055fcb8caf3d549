// nginx's stream module from Debian, as its documentation has it for TLS on both ends: a worker for each core, sockets of their own.
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freeAddress } from '../../src/bench/ports.ts'
import type { ProcessSpec } from '../../src/bench/process.ts'
import { findProgram, type Peer, versionOf } from '../peer.ts'

const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so'

export const nginx: Peer = {
  name: 'nginx',
  title: 'nginx stream',
  kind: 'tls',
  holdsIdle: true,
  missing: () => {
    if (findProgram('nginx') === undefined) return 'nginx is not on the PATH'
    return existsSync(streamModule) ? undefined : 'nginx has no stream module (libnginx-mod-stream)'
  },
  version: () => versionOf('nginx', ['-v']),
  open: async ({ folder, app, identities }) => {
    const [to, bAddress] = [await freeAddress(), await freeAddress()]
    const { web, db } = identities
    const serving = `
    ssl_certificate ${db.cert};
    ssl_certificate_key ${db.key};
    ssl_client_certificate ${db.ca};
    ssl_verify_client on;
    ssl_protocols TLSv1.3;
    ssl_session_cache off;
    ssl_session_tickets off;`
    const dialing = `
    proxy_ssl on;
    proxy_ssl_certificate ${web.cert};
    proxy_ssl_certificate_key ${web.key};
    proxy_ssl_trusted_certificate ${web.ca};
    proxy_ssl_verify on;
    proxy_ssl_name db;
    proxy_ssl_server_name on;
    proxy_ssl_protocols TLSv1.3;
    proxy_ssl_session_reuse off;`
    const start = async (name: string, listens: string, server: string): Promise<ProcessSpec> => {
      const file = join(folder, `${name}.conf`)
      await writeFile(file, configuration(folder, name, server))
      const args = ['-p', folder, '-c', file]
      return { command: findProgram('nginx') ?? 'nginx', args, listens, log: join(folder, `${name}.log`) }
    }
    return {
      to,
      bAddress,
      a: await start('a', to, `listen ${to} reuseport;\n    proxy_pass ${bAddress};${dialing}`),
      b: await start('b', bAddress, `listen ${bAddress} ssl reuseport;\n    proxy_pass ${app};${serving}`),
    }
  },
}

function configuration(folder: string, name: string, server: string): string {
  return `load_module ${streamModule};
daemon off;
worker_processes auto;
worker_rlimit_nofile 20000;
pid ${join(folder, `${name}.pid`)};
error_log ${join(folder, `${name}.error.log`)} warn;
events {
  worker_connections 19000;
}
stream {
  log_format basic '$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time';
  access_log ${join(folder, `${name}.access.log`)} basic;
  proxy_timeout 1h;
  server {
    ${server}
  }
}
`
}
