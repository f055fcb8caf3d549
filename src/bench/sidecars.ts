// Two sidecars of this package as a bench starts them: static files, the defaults of a user, authorization by a list as long as a
// large mesh's.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { benchId, type Identities, type IdentityFiles } from './identities.ts'
import { freeAddress } from './ports.ts'
import type { ProcessSpec } from './process.ts'

export interface SidecarsOptions {
  readonly folder: string
  /** The script that starts sidesplice. */
  readonly bin: string
  readonly node?: string
  readonly nodeArgs?: readonly string[]
  readonly dataPlane: 'native' | 'javascript' | 'auto'
  /** Behind B. */
  readonly app: string
  readonly identities: Identities
  /** Beside or instead of what stands here. */
  readonly settings?: object
}

export interface Sidecars {
  /** Where an application reaches the chain. */
  readonly to: string
  readonly a: ProcessSpec
  readonly b: ProcessSpec
  readonly bAddress: string
  /** A's and B's metrics. */
  readonly metrics: readonly string[]
}

// What B's list has to look through beside the peer that is there.
const allowedOthers = 999

export async function sidecarPair(options: SidecarsOptions): Promise<Sidecars> {
  const [to, bAddress] = [await freeAddress(), await freeAddress()]
  const metrics = [await freeAddress(), await freeAddress()] as const
  const others = Array.from({ length: allowedOthers }, (_, at) => benchId(`other-${at}`))
  const b = await sidecar(options, 'db', {
    metrics: metrics[1],
    inbound: {
      listen: bAddress,
      local_service_address: options.app,
      allow: [...others, benchId('web')],
    },
  })
  const a = await sidecar(options, 'web', {
    metrics: metrics[0],
    upstreams: [
      {
        destination_name: 'db',
        local_bind_port: Number(to.split(':')[1]),
        endpoints: [bAddress],
        expect: [benchId('db')],
      },
    ],
  })
  return { to, bAddress, metrics, a: { ...a, listens: to }, b: { ...b, listens: bAddress } }
}

async function sidecar(
  { folder, bin, node = process.execPath, nodeArgs = [], dataPlane, identities, settings }: SidecarsOptions,
  service: 'web' | 'db',
  own: object,
): Promise<Omit<ProcessSpec, 'listens'>> {
  const file = join(folder, `${service}.json`)
  const config = {
    service,
    identity: identityOf(identities[service]),
    data_plane: dataPlane,
    drain: 0,
    ...own,
    ...settings,
  }
  await writeFile(file, `${JSON.stringify(config, null, 2)}\n`)
  return {
    command: node,
    args: [...nodeArgs, bin, 'proxy', '--config', file],
    readyText: ' ready ',
    log: join(folder, `${service}.log`),
    // A data plane that the environment names would be another than the one that is measured.
    env: { SIDESPLICE_DATA_PLANE: '' },
  }
}

function identityOf({ cert, key, ca }: IdentityFiles): object {
  return { cert_file: cert, key_file: key, ca_file: ca }
}
