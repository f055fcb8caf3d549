// The settings as flags: one for each scalar key of the file, made from the schema, so that the two can't drift apart.
import { Option } from 'commander'
import type { Overrides } from '../config/config.ts'
import { type SettingSchema, scalarSettings } from '../config/schema.ts'

// The one setting that a variable can hold too: the choice between data planes is made by whoever runs a fleet.
const dataPlaneVariable = 'SIDESPLICE_DATA_PLANE'

export function settingOptions(): readonly Option[] {
  return [...scalarSettings()].map(([name, schema]) => {
    const option = new Option(`${flagOf(name)}${placeholder(schema)}`, describe(name, schema))
    return option
  })
}

/** What flags and variables say, under the names of the file's keys. Values are checked with the file. */
export function overridesFrom(values: Readonly<Record<string, unknown>>, env: NodeJS.ProcessEnv): Overrides {
  const overrides = new Map<string, { readonly value: unknown; readonly where: string }>()
  const dataPlane = env[dataPlaneVariable]
  if (dataPlane !== undefined && dataPlane !== '')
    overrides.set('data_plane', { value: dataPlane, where: dataPlaneVariable })
  for (const name of scalarSettings().keys()) {
    const value = values[camel(name)]
    if (value !== undefined) overrides.set(name, { value: inOurWords(name, value), where: flagOf(name) })
  }
  return overrides
}

/** Consul's names of levels are taken in any case: INFO, WARN, ERR. */
function inOurWords(name: string, value: unknown): unknown {
  if (name !== 'log_level' || typeof value !== 'string') return value
  const level = value.toLowerCase()
  return level === 'err' ? 'error' : level
}

function flagOf(name: string): string {
  return `--${name.replaceAll('_', '-')}`
}

function camel(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

function placeholder({ type, format, enum: choices, $ref }: SettingSchema): string {
  if (type === 'boolean') return ''
  if (format === 'address') return ' <host:port>'
  if (choices !== undefined) return ` <${choices.join('|')}>`
  if ($ref === '#/$defs/count') return ' <n>'
  return $ref === '#/$defs/seconds' ? ' <seconds>' : ' <ms>'
}

function describe(name: string, schema: SettingSchema): string {
  const fallback =
    schema.default === undefined || schema.default === false ? '' : ` (default ${schema.default})`
  const variable = name === 'data_plane' ? ` [${dataPlaneVariable}]` : ''
  return `${schema.description ?? ''}${fallback}${variable}`
}
