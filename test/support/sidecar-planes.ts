// On which data plane the sidecars of a run stand: the runner says so, the same scenarios run on each.
import { loadAddon } from '../../src/data-plane/native/addon.ts'

/** Where a sidecar stands between two: beside the app that opens connections, or beside the one that takes them. */
export type Side = 'dialing' | 'dialed'

/**
 * Set by the runner: `native`, `javascript`, or `native,javascript` for those that dial and those that are dialed. Where it is not set
 * nothing is asked for, and the command chooses. A test whose point is the data plane asks for its own, by `ownPlane`.
 */
export const sidecarPlanesVariable = 'SIDESPLICE_TEST_DATA_PLANE'

type Plane = 'native' | 'javascript'

/** The environment of a test that chooses the data plane itself, or is about the choice: whatever the run is for. */
export const ownPlane = { SIDESPLICE_DATA_PLANE: '' } as const

/** What is asked for on this side; empty where the choice is the command's. */
export function askedFor(side: Side): Plane | '' {
  const text = process.env[sidecarPlanesVariable] ?? ''
  if (text === '') return ''
  const [dialing = '', dialed = dialing, ...more] = text.split(',')
  for (const plane of [dialing, dialed])
    if ((plane !== 'native' && plane !== 'javascript') || more.length > 0)
      throw new Error(
        `${sidecarPlanesVariable}: got ${text}, expected native, javascript, or one for each side`,
      )
  return (side === 'dialing' ? dialing : dialed) as Plane
}

/** What a sidecar of this side runs on, in the words of logs, records and metrics. */
export function planeOf(side: Side): { readonly dataPlane: Plane; readonly relay: 'records' | 'javascript' } {
  const asked = askedFor(side)
  const dataPlane = asked !== '' ? asked : 'addon' in loadAddon() ? 'native' : 'javascript'
  return { dataPlane, relay: dataPlane === 'native' ? 'records' : 'javascript' }
}
