import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import test from 'node:test'
import { fileURLToPath } from 'node:url'

const src = fileURLToPath(new URL('../../src', import.meta.url))

// As docs/architecture.md has it: data flows one way, and nothing imports what comes after it.
const order = [
  'identity',
  'config',
  'authorization',
  'upstream',
  'consul',
  'snapshot',
  'policy',
  'data-plane',
  'admin',
  'proxy',
  'bench',
  'agent',
  'managed',
  'cli',
]

interface Import {
  readonly from: string
  readonly to: string
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(src, file), 'utf8')
  return [...text.matchAll(/(?:from|import)\s*\(?'(\.[^']+)'/g)].map(match => ({
    from: file,
    to: relative(src, join(src, dirname(file), match[1] ?? '')),
  }))
}

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
const imports = files.flatMap(importsOf)
const folderOf = (file: string) => (file.includes('/') ? file.split('/')[0] : undefined)

/** Whether the import goes the way that data flows. Files at the top of src/ are shared words, and import no folder. */
function goesUpward({ from, to }: Import): boolean {
  const [own, other] = [folderOf(from), folderOf(to)]
  if (other === undefined || own === other) return true
  return own !== undefined && order.indexOf(other) < order.indexOf(own)
}

test('every folder of src/ has its place in the order', () => {
  const folders = readdirSync(src).filter(name => statSync(join(src, name)).isDirectory())
  assert.deepEqual(folders.toSorted(), order.toSorted())
})

test('a folder imports only from folders before it', () => {
  assert.ok(imports.length > 100, 'the search for imports finds them')
  assert.deepEqual(
    imports.filter(one => !goesUpward(one)),
    [],
  )
  assert.ok(!goesUpward({ from: 'policy/admit.ts', to: 'data-plane/interface.ts' }))
})

test('only one file knows which data planes there are', () => {
  const knowing = imports.filter(
    ({ from, to }) => /^data-plane\/(javascript|native)\//.test(to) && dirname(from) !== dirname(to),
  )
  assert.deepEqual([...new Set(knowing.map(({ from }) => from))], ['data-plane/open.ts'])
  assert.deepEqual(knowing.map(({ to }) => to).toSorted(), [
    'data-plane/javascript/data-plane.ts',
    'data-plane/native/addon.ts',
    'data-plane/native/data-plane.ts',
  ])
})

test("the data plane's interface has eight members", () => {
  const text = readFileSync(join(src, 'data-plane/interface.ts'), 'utf8')
  const body = /export interface DataPlane \{\n([\s\S]*?)\n\}/.exec(text)?.[1] ?? ''
  const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)[(:]/gm)].map(match => match[1])
  assert.deepEqual(members, [
    'capabilities',
    'setIdentity',
    'setListeners',
    'terminate',
    'sessions',
    'counters',
    'drain',
    'close',
  ])
})
