// The shipped schema as a function. Compiling it takes longer than all else at the start: the build does it beforehand, and puts what
// comes of it in the place of this file (scripts/bundle.mjs).
import { Ajv2020 } from 'ajv/dist/2020.js'
import { formatChecks } from './formats.ts'
import { shippedSchema } from './shipped-schema.ts'
import { validation } from './validation.ts'

export const validate = new Ajv2020({ ...validation, formats: formatChecks }).compile(shippedSchema)
