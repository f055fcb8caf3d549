// Reading what must be a file: a pipe would be waited for, by a thread that nothing can call back.
import { readFile, stat } from 'node:fs/promises'
import { SidespliceError } from '../errors.ts'

// Configuration and certificates take kilobytes.
const maxBytes = 4 * 1024 * 1024

/** @throws SidespliceError `not_a_file`, `file_too_large`, and what stat(2) and read(2) say */
export async function readRegularFile(path: string): Promise<Buffer> {
  const found = await stat(path)
  if (!found.isFile())
    throw new SidespliceError('it is no regular file', { source: 'config', code: 'not_a_file' })
  if (found.size > maxBytes)
    throw new SidespliceError(`it has ${found.size} bytes`, { source: 'config', code: 'file_too_large' })
  return readFile(path)
}
