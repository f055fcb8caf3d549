// The data planes that the conformance suite runs on: each case is asserted of every one of them.
import { describe } from 'node:test'
import type { DataPlane, DataPlaneOptions, SessionRecord } from '../../src/data-plane/interface.ts'
import { JavascriptDataPlane } from '../../src/data-plane/javascript/data-plane.ts'
import { loadAddon } from '../../src/data-plane/native/addon.ts'
import { NativeDataPlane } from '../../src/data-plane/native/data-plane.ts'

export interface DataPlaneUnderTest {
  readonly name: string
  /** What moves the bytes of its sessions, as their records have to say. */
  readonly relay: SessionRecord['relay']
  /** What does so of a session that the former can't take. */
  readonly otherwise?: SessionRecord['relay']
  open(options: DataPlaneOptions): DataPlane
}

/** Set by the runner where there is no addon, which it says and, where nothing may be left out, holds against the run. */
export const withoutNativeVariable = 'SIDESPLICE_TEST_WITHOUT_NATIVE'

/** Set inside a kernel that has TLS: there the native data plane leaves records to it, and no other is tested. */
export const kernelTlsVariable = 'SIDESPLICE_TEST_KERNEL_TLS'

const javascript = {
  name: 'javascript',
  relay: 'javascript',
  open: (options: DataPlaneOptions) => new JavascriptDataPlane(options),
} as const
const onKernelTls = process.env[kernelTlsVariable] === '1'
const onAddon = {
  name: 'native',
  relay: onKernelTls ? 'ktls-splice' : 'records',
  open: openNative,
} as const

export const dataPlanes: readonly DataPlaneUnderTest[] = planesToTest()

function planesToTest(): readonly DataPlaneUnderTest[] {
  if (onKernelTls) return [onAddon]
  return process.env[withoutNativeVariable] === '1' ? [javascript] : [javascript, onAddon]
}

function openNative(options: DataPlaneOptions): DataPlane {
  const loaded = loadAddon()
  if ('why' in loaded) throw new Error(`the addon is not there: ${loaded.why}`)
  return new NativeDataPlane(loaded.addon, { ktls: onKernelTls ? 'on' : 'off', ...options })
}

/** For sessions whose peer may have closed its direction before they relay: then the kernel takes no keys (tls.rst). */
export function maybeClosed(plane: DataPlaneUnderTest): DataPlaneUnderTest {
  return { ...plane, otherwise: 'records' }
}

/** One group of cases, once for each data plane. */
export function conformance(behaviour: string, cases: (plane: DataPlaneUnderTest) => void): void {
  for (const plane of dataPlanes) describe(`${behaviour} (${plane.name})`, () => cases(plane))
}

/** Cases that only the native data plane answers for: what Node's TLS does on a wire is Node's. */
export function native(behaviour: string, cases: (plane: DataPlaneUnderTest) => void): void {
  for (const plane of dataPlanes.filter(plane => plane === onAddon))
    describe(`${behaviour} (${plane.name})`, () => cases(plane))
}

/** Cases of records that we make ourselves: what the kernel's do differently stands beside them, or in test/ktls. */
export function ownRecords(behaviour: string, cases: (plane: DataPlaneUnderTest) => void): void {
  for (const plane of dataPlanes.filter(plane => plane.relay === 'records'))
    describe(`${behaviour} (${plane.name})`, () => cases(plane))
}

export function dataPlaneNamed(name: string | undefined): DataPlaneUnderTest {
  const found = dataPlanes.find(plane => plane.name === name)
  if (found === undefined)
    throw new Error(
      `got data plane ${name}, expected one of ${dataPlanes.map(plane => plane.name).join(', ')}`,
    )
  return found
}
