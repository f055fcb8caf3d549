// The one place that knows which data planes there are, and chooses.
import { SidespliceError } from '../errors.ts'
import type { DataPlane, DataPlaneOptions } from './interface.ts'
import { JavascriptDataPlane } from './javascript/data-plane.ts'
import { loadAddon } from './native/addon.ts'
import { NativeDataPlane } from './native/data-plane.ts'

export type DataPlaneChoice = 'auto' | 'native' | 'javascript'

export interface OpenedDataPlane {
  readonly dataPlane: DataPlane
  /** For people: which one it is, and why. */
  readonly name: string
  readonly why: string
}

/**
 * @throws SidespliceError `data_plane_unavailable` where the one asked for by name can't run here; `auto` takes the other
 */
export function openDataPlane(choice: DataPlaneChoice, options: DataPlaneOptions): OpenedDataPlane {
  requireAvailable(choice)
  const native = choice === 'javascript' ? { why: 'asked for' } : loadAddon()
  if ('why' in native)
    return { dataPlane: new JavascriptDataPlane(options), name: 'javascript', why: native.why }
  return {
    dataPlane: new NativeDataPlane(native.addon, options),
    name: 'native',
    why: choice === 'native' ? 'asked for' : 'the addon fits this Node',
  }
}

/** @throws SidespliceError `data_plane_unavailable` */
export function requireAvailable(choice: DataPlaneChoice): void {
  if (choice !== 'native') return
  const native = loadAddon()
  if ('addon' in native) return
  throw new SidespliceError(`data plane native can't run: ${native.why}`, {
    source: 'data-plane',
    code: 'data_plane_unavailable',
  })
}
