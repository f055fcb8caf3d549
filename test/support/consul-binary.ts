// Where `npm run test:setup` puts Consul: a cache folder, nothing is installed.
import { homedir } from 'node:os'
import { join } from 'node:path'

const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')

export const consulBinary = join(cache, 'sidesplice', 'consul', 'consul')
