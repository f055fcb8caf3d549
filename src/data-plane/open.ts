// The one place that knows which data planes there are, and chooses.
import { SidespliceError } from '../errors.ts'
import type { DataPlane, DataPlaneOptions } from './interface.ts'
import { JavascriptDataPlane } from './javascript/data-plane.ts'

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
  return {
    dataPlane: new JavascriptDataPlane(options),
    name: 'javascript',
    why: choice === 'javascript' ? 'asked for' : nativeMissing,
  }
}

/** @throws SidespliceError `data_plane_unavailable` */
export function requireAvailable(choice: DataPlaneChoice): void {
  if (choice !== 'native') return
  throw new SidespliceError(`data plane native can't run: ${nativeMissing}`, {
    source: 'data-plane',
    code: 'data_plane_unavailable',
  })
}

const nativeMissing = 'this version has no native addon'
