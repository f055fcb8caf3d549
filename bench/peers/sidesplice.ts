// sidesplice with the defaults of a user, resumption excepted: access log on, metrics read each second, a list of a thousand allowed peers.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { sidecarPair } from '../../src/bench/sidecars.ts'
import type { Peer } from '../peer.ts'

export const bin = fileURLToPath(new URL('../../bin/sidesplice.cjs', import.meta.url))
const packageFile = new URL('../../package.json', import.meta.url)
// Twice: what the first finds may hold on to more until its finalizers have run.
const collect = "data:text/javascript,process.on('SIGUSR2',()=>{gc();gc()})"

// New connections of every peer are full handshakes; those that are not have a chain of their own.
export const native = sidesplice('native', 'sidesplice', { resumption: 'off' })
export const javascript = sidesplice('javascript', 'sidesplice, JavaScript')

/** New connections on tickets of earlier ones. */
export const resumed: Peer = {
  ...sidesplice('native', 'sidesplice, resumed', { resumption: 'on' }),
  name: 'sidesplice-resumed',
  holdsIdle: false,
  resumes: true,
}

/** The native one with settings beside its defaults. */
export function sidespliceWith(settings: object, name: string): Peer {
  return { ...sidesplice('native', name, { resumption: 'off', ...settings }), name }
}

function sidesplice(dataPlane: 'native' | 'javascript', title: string, settings: object = {}): Peer {
  return {
    name: `sidesplice-${dataPlane}`,
    title,
    kind: 'own',
    holdsIdle: true,
    missing: () => undefined,
    version: () => {
      const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }
      return `sidesplice ${version}, Node ${process.versions.node}, OpenSSL ${process.versions.openssl}`
    },
    open: async ({ folder, app, identities, forMemory }) => ({
      ...(await sidecarPair({
        folder,
        app,
        identities,
        bin,
        dataPlane,
        settings,
        ...(forMemory && {
          nodeArgs: ['--expose-gc', '--import', collect],
          // Thousands of handshakes at once are not what is measured here.
          // What a session that resumes leaves behind counts too.
          settings: {
            ...settings,
            resumption: 'on',
            handshake_timeout_ms: 60_000,
            connect_timeout_ms: 60_000,
          },
        }),
      })),
      ...(forMemory && { settleSignal: 'SIGUSR2' as const }),
    }),
  }
}
