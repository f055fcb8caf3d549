// The JSON Schema that ships with the package, as it is read from there.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../package-root.ts'

export const shippedSchema: object = JSON.parse(
  readFileSync(join(packageRoot, 'schema', 'sidesplice.schema.json'), 'utf8'),
)
