// The one place that knows which data planes there are, and chooses.
import { setFlagsFromString } from 'node:v8'
import { SidespliceError } from '../errors.ts'
import type { DataPlane, DataPlaneOptions, RelayChoice } from './interface.ts'
import { JavascriptDataPlane } from './javascript/data-plane.ts'
import { loadAddon } from './native/addon.ts'
import { NativeDataPlane, type RecordsChoice, requireKernelUse } from './native/data-plane.ts'

export type DataPlaneChoice = 'auto' | 'native' | 'javascript'

export interface OpenedDataPlane {
  readonly dataPlane: DataPlane
  /** For people: which one it is, and why. */
  readonly name: string
  readonly why: string
  readonly relay: RelayChoice
}

/**
 * @throws SidespliceError `data_plane_unavailable` where the one asked for by name, or kernel TLS, can't run here; `auto` takes another
 */
export function openDataPlane(choice: DataPlaneChoice, options: DataPlaneOptions): OpenedDataPlane {
  requireAvailable(choice, options)
  const native = choice === 'javascript' ? { why: 'asked for' } : loadAddon()
  if ('why' in native) {
    // V8's own: bin/sidesplice.cjs has kept it from growing (measured: 3 % of a stream's throughput).
    setFlagsFromString('--semi-space-growth-factor=2')
    return {
      dataPlane: new JavascriptDataPlane(options),
      name: 'javascript',
      why: native.why,
      relay: { relay: 'javascript', why: 'the data plane is javascript' },
    }
  }
  const dataPlane = new NativeDataPlane(native.addon, options)
  return {
    dataPlane,
    name: 'native',
    why: choice === 'native' ? 'asked for' : 'the addon fits this Node',
    relay: dataPlane.relay,
  }
}

/** @throws SidespliceError `data_plane_unavailable` */
export function requireAvailable(choice: DataPlaneChoice, records: RecordsChoice = {}): void {
  if (choice !== 'native' && records.ktls !== 'on') return
  const native = choice === 'javascript' ? { why: 'the data plane is javascript' } : loadAddon()
  if ('addon' in native) {
    requireKernelUse(native.addon, records)
    return
  }
  const what = choice === 'native' ? 'data plane native' : 'kernel TLS'
  throw new SidespliceError(`${what} can't run: ${native.why}`, {
    source: 'data-plane',
    code: 'data_plane_unavailable',
  })
}

/** GB/s that one core seals with AES-GCM of our own, by cipher; empty where the native data plane does not take it here. Takes `seconds` each. */
export function ownAesSpeeds(seconds: number): ReadonlyMap<string, number> {
  const native = loadAddon()
  if ('why' in native || native.addon.chooseAes('auto') !== 'vaes') return new Map()
  const { aeadSpeed } = native.addon
  return new Map(['aes-128-gcm', 'aes-256-gcm'].map((name, at) => [name, aeadSpeed(at, seconds)]))
}
