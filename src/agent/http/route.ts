// A path of the API, with what each method does there.
import type { Schema } from '../schemas.ts'
import type { Handler } from './call.ts'

export type Method = 'GET' | 'PUT' | 'POST' | 'DELETE'

export interface Operation {
  readonly handler: Handler
  /** Of the body; without one none is looked at. */
  readonly schema?: Schema
}

export interface Route {
  readonly path: string
  readonly methods: { readonly [M in Method]?: Operation }
}
