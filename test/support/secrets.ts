// Searching what the suites wrote for the keys and certificates that they made.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Lines of `file: which secret` for every marker of `secretsFile` that a file below `folder` holds. */
export function findSecrets(folder: string, secretsFile: string): readonly string[] {
  const markers = [...new Set(readFileSync(secretsFile, 'utf8').split('\n'))].filter(
    marker => marker.length >= 16,
  )
  const found: string[] = []
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name)
    if (path === secretsFile || !statSync(path).isFile()) continue
    const text = readFileSync(path, 'latin1')
    if (text.includes('PRIVATE KEY-----')) found.push(`${name}: a PEM private key`)
    for (const marker of markers) if (text.includes(marker)) found.push(`${name}: ${marker.slice(0, 6)}…`)
  }
  return found
}
