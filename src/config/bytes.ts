// Sizes as files and flags write them: a number of bytes, or one of KiB, MiB or GiB.

const units: Readonly<Record<string, number>> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

/** Undefined where it is no size. */
export function parseBytes(text: string): number | undefined {
  const [, digits, unit] = /^([0-9]{1,12})(KiB|MiB|GiB)?$/.exec(text) ?? []
  if (digits === undefined) return undefined
  const bytes = Number(digits) * (unit === undefined ? 1 : (units[unit] ?? 1))
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
