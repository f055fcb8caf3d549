// The data planes that the conformance suite runs on: each case is asserted of every one of them.
import { describe } from 'node:test'
import type { DataPlane, DataPlaneOptions } from '../../src/data-plane/interface.ts'
import { JavascriptDataPlane } from '../../src/data-plane/javascript/data-plane.ts'
import { loadAddon } from '../../src/data-plane/native/addon.ts'
import { NativeDataPlane } from '../../src/data-plane/native/data-plane.ts'

export interface DataPlaneUnderTest {
  readonly name: string
  open(options: DataPlaneOptions): DataPlane
}

export const dataPlanes: readonly DataPlaneUnderTest[] = [
  { name: 'javascript', open: options => new JavascriptDataPlane(options) },
  { name: 'native', open: openNative },
]

function openNative(options: DataPlaneOptions): DataPlane {
  const native = loadAddon()
  if ('why' in native) throw new Error(`the addon is not there: ${native.why}`)
  return new NativeDataPlane(native.addon, options)
}

/** One group of cases, once for each data plane. */
export function conformance(behaviour: string, cases: (plane: DataPlaneUnderTest) => void): void {
  for (const plane of dataPlanes) describe(`${behaviour} (${plane.name})`, () => cases(plane))
}

export function dataPlaneNamed(name: string | undefined): DataPlaneUnderTest {
  const found = dataPlanes.find(plane => plane.name === name)
  if (found === undefined)
    throw new Error(
      `got data plane ${name}, expected one of ${dataPlanes.map(plane => plane.name).join(', ')}`,
    )
  return found
}
