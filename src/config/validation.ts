// How the schema is applied: every problem is found, with the value that it is about, and defaults are filled in.
export const validation = {
  allErrors: true,
  useDefaults: true,
  verbose: true,
  allowUnionTypes: true,
} as const
