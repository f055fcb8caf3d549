// Searching what the suites wrote for the keys, certificates and tokens that they made.
import { appendFileSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

// What is shorter may be in an output by accident.
const shortestMarker = 16

/** Notes a text that must never turn up in an output; the runner looks for it when all suites are over. */
export function noteSecret(marker: string): void {
  if (marker.length < shortestMarker)
    throw new Error(`got a secret of ${marker.length} characters, expected ${shortestMarker}`)
  const path = process.env.SIDESPLICE_TEST_SECRETS
  if (path !== undefined && path !== '') appendFileSync(path, `${marker}\n`)
}

/** A line of a PEM text that is in no other. */
export function firstBodyLine(pem: string): string {
  return pem.split('\n').find(line => line.length > 0 && !line.startsWith('-----')) ?? ''
}

/** Lines of `file: which secret` for every marker of `secretsFile` that a file below `folder` holds. */
export function findSecrets(folder: string, secretsFile: string): readonly string[] {
  const markers = [...new Set(readFileSync(secretsFile, 'utf8').split('\n'))].filter(
    marker => marker.length >= shortestMarker,
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
