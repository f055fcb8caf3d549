// The one list of the addon's sources, for binding.gyp and CMakeLists.txt alike.
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folders = ['sys', 'tls', 'core', 'binding']
for (const folder of folders) {
  const files = readdirSync(fileURLToPath(new URL(folder, import.meta.url)))
  for (const file of files.filter(name => name.endsWith('.cc')).sort())
    process.stdout.write(`native/${folder}/${file}\n`)
}
