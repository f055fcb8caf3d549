// The one list of sources, for binding.gyp and CMakeLists.txt alike: the addon's, or with `load` those of the load generator, which
// shares the system calls with it.
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folders = process.argv[2] === 'load' ? ['sys', 'load'] : ['sys', 'tls', 'core', 'binding']
for (const folder of folders) {
  const files = readdirSync(fileURLToPath(new URL(folder, import.meta.url)))
  for (const file of files.filter(name => name.endsWith('.cc')).sort())
    process.stdout.write(`native/${folder}/${file}\n`)
}
