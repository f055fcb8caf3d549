// Puts src/ and the packages that it uses into a few files: what a sidecar loads at its start is then read and compiled at once, and only
// what it uses. The addon's loader stays outside: it looks for files beside itself.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'

// CommonJS comes whole whatever is used of it: these are taken from where the packages keep them, and put together as their index does.
const parts = {
  undici: `
    import Dispatcher from 'undici/lib/dispatcher/dispatcher.js'
    import api from 'undici/lib/api/index.js'
    Object.assign(Dispatcher.prototype, api)
    export { default as Pool } from 'undici/lib/dispatcher/pool.js'
    export { default as buildConnector } from 'undici/lib/core/connect.js'`,
  'prom-client': `
    export { default as Counter } from 'prom-client/lib/counter.js'
    export { default as Gauge } from 'prom-client/lib/gauge.js'
    export { default as Histogram } from 'prom-client/lib/histogram.js'
    export { default as Registry } from 'prom-client/lib/registry.js'
    export { default as collectDefaultMetrics } from 'prom-client/lib/defaultMetrics.js'`,
}

/** Writes the bundle to `outdir`, with the licences of what is in it. */
export async function bundle({ root, outdir }) {
  const { metafile, warnings } = await build({
    absWorkingDir: root,
    entryPoints: { 'cli/main': 'src/cli/main.ts' },
    outdir,
    bundle: true,
    splitting: true,
    chunkNames: 'cli/[name]-[hash]',
    platform: 'node',
    format: 'esm',
    target: 'node22.19',
    // Names stay as they are: a stack in a log line is to be read.
    minifySyntax: true,
    minifyWhitespace: true,
    external: ['node-gyp-build'],
    // CommonJS packages call require for Node's own modules.
    banner: {
      js: "import{createRequire as requireOfNode}from'node:module';const require=requireOfNode(import.meta.url);",
    },
    plugins: [onlyParts(root), compiledSchema(root)],
    metafile: true,
    logLevel: 'warning',
  })
  if (warnings.length > 0) throw new Error('the bundle has warnings')
  return { licences: licences(root, Object.keys(metafile.inputs)) }
}

function onlyParts(root) {
  return {
    name: 'only parts',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: new RegExp(`^(${Object.keys(parts).join('|')})$`) }, ({ path }) => ({
        path,
        namespace: 'parts',
      }))
      onLoad({ filter: /.*/, namespace: 'parts' }, ({ path }) => ({
        contents: parts[path],
        resolveDir: root,
      }))
    },
  }
}

/** What ajv makes of the schema takes the place of the file that has it make that at each start. */
function compiledSchema(root) {
  return {
    name: 'compiled schema',
    setup({ onLoad }) {
      onLoad({ filter: /\/src\/config\/validate\.ts$/ }, async () => {
        const load = file => import(pathToFileURL(join(root, 'src', 'config', file)).href)
        const { shippedSchema } = await load('shipped-schema.ts')
        const { formatChecks } = await load('formats.ts')
        const { validation } = await load('validation.ts')
        const { Ajv2020 } = await import('ajv/dist/2020.js')
        const { default: standaloneCode } = await import('ajv/dist/standalone/index.js')
        const { _ } = await import('ajv')
        const ajv = new Ajv2020({
          ...validation,
          formats: formatChecks,
          code: { source: true, esm: true, formats: _`formatChecks` },
        })
        const code = standaloneCode(ajv, {
          validate: ajv.compile({ $id: 'sidesplice', ...shippedSchema }).schema.$id,
        })
        return {
          contents: `import { formatChecks } from './formats.ts'\n${code}`,
          resolveDir: join(root, 'src', 'config'),
          loader: 'js',
        }
      })
    },
  }
}

/** Of each package of which something is in the bundle, in its own words. */
function licences(root, inputs) {
  const folders = inputs.flatMap(input => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? [])
  return [...new Set(folders)].sort().map(folder => {
    const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
    const file = readdirSync(join(root, folder)).find(entry => /^licen[cs]e/i.test(entry))
    const text =
      file === undefined ? `Licence: ${license}` : readFileSync(join(root, folder, file), 'utf8').trim()
    return `${name} ${version}\n\n${text}\n`
  })
}
