// The certificate, key and root files, read together and checked; every problem names its file.
import { stat } from 'node:fs/promises'
import { errorCode } from '../errors.ts'
import { type Identity, parseLeaf, parseTrustBundle } from '../identity/identity.ts'
import type { Config } from './config.ts'
import { ConfigError, type Problem } from './problem.ts'
import { readRegularFile } from './regular-file.ts'

/**
 * Reads who the sidecar is and whom it trusts.
 * @throws ConfigError with every problem found
 */
export async function readIdentity(files: Config['identityFiles'], now: number): Promise<Identity> {
  const problems: Problem[] = []
  const read = async (key: string, file: string) => {
    try {
      return await readRegularFile(file)
    } catch (error) {
      problems.push({
        where: file,
        key: `identity.${key}`,
        got: errorCode(error),
        expected: 'a file that can be read',
      })
      return undefined
    }
  }
  const [cert, key, ca] = await Promise.all([
    read('cert_file', files.certFile),
    read('key_file', files.keyFile),
    read('ca_file', files.caFile),
  ])
  const trust = check('ca_file', files.caFile, () =>
    ca === undefined ? undefined : parseTrustBundle(ca.toString()),
  )
  const leaf = check('cert_file', files.certFile, () => {
    if (cert === undefined || key === undefined || trust === undefined) return undefined
    return parseLeaf({ certPem: cert.toString(), keyPem: key, trust, now })
  })
  if (trust === undefined || leaf === undefined || problems.length > 0) throw new ConfigError(problems)
  return Object.freeze({ leaf, trust })

  function check<T>(name: string, file: string, parse: () => T): T | undefined {
    try {
      return parse()
    } catch (error) {
      const code = errorCode(error)
      // The leaf is checked with its key: what is wrong with the key alone is told of its file.
      const [culprit, where] = code === 'bad_key' ? ['key_file', files.keyFile] : [name, file]
      problems.push({
        where,
        key: `identity.${culprit}`,
        got: `${code} (${error instanceof Error ? error.message : String(error)})`,
        expected: expectations[culprit] ?? 'a PEM file',
      })
      return undefined
    }
  }
}

const expectations: Record<string, string> = {
  ca_file: 'PEM certificates',
  key_file: 'a PEM private key without a passphrase',
  cert_file: 'a leaf with one SPIFFE ID that fits the key, is valid now and chains to ca_file',
}

/** Whether others than the owner may read the key. A group may: that is how a secret is shared with one service. */
export async function isReadableByOthers(keyFile: string): Promise<boolean> {
  const worldReadable = 0o004
  return ((await stat(keyFile)).mode & worldReadable) !== 0
}
