// HAProxy from Debian, as its configuration manual has it for TCP: with TLS on both ends of the hop, and without TLS, where it splices.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freeAddress } from '../../src/bench/ports.ts'
import type { ProcessSpec } from '../../src/bench/process.ts'
import { missingProgram, type Peer, type Setup, versionOf } from '../peer.ts'

const shared = { holdsIdle: true, missing: missingProgram('haproxy'), version }

export const haproxy: Peer = {
  ...shared,
  name: 'haproxy',
  title: 'HAProxy',
  kind: 'tls',
  open: setup => open(setup, true),
}

export const haproxySplice: Peer = {
  ...shared,
  name: 'haproxy-plain',
  title: 'HAProxy, splice, without TLS',
  kind: 'plain',
  open: setup => open(setup, false),
}

function version(): string {
  return versionOf('haproxy', ['-v'])
}

async function open({ folder, app, identities }: Setup, tls: boolean) {
  const [to, bAddress] = [await freeAddress(), await freeAddress()]
  const { web, db } = identities
  const serving = tls
    ? `ssl crt ${db.pem} ca-file ${db.ca} verify required ssl-min-ver TLSv1.3 no-tls-tickets`
    : ''
  const dialing = tls
    ? `ssl crt ${web.pem} ca-file ${web.ca} verify required sni str(db) ssl-min-ver TLSv1.3 no-ssl-reuse`
    : ''
  const options = tls ? '' : '\n  option splice-auto'
  const start = async (name: string, listens: string, side: Side): Promise<ProcessSpec> => {
    const file = join(folder, `${name}.cfg`)
    await writeFile(file, configuration(listens, { ...side, options }))
    return { command: 'haproxy', args: ['-db', '-f', file], listens, log: join(folder, `${name}.log`) }
  }
  return {
    to,
    bAddress,
    a: await start('a', to, { bind: '', target: bAddress, server: dialing }),
    b: await start('b', bAddress, { bind: serving, target: app, server: '' }),
  }
}

interface Side {
  readonly bind: string
  readonly target: string
  readonly server: string
}

// Threads and connections as HAProxy chooses them by itself: one for each core, as many as descriptors allow.
function configuration(
  listens: string,
  { bind, target, server, options }: Side & { readonly options: string },
): string {
  return `global
  log stdout format raw daemon
  tune.ssl.cachesize 0

defaults
  mode tcp
  log global
  option tcplog
  timeout connect 10s
  timeout client 1h
  timeout server 1h${options}

frontend in
  bind ${listens} ${bind}
  default_backend out

backend out
  server peer ${target} ${server}
`
}
