// `proxy --check` on a file that a test writes.
import type { TestContext } from 'node:test'
import { type CommandOptions, type Ended, run } from './command.ts'
import { type IssuedCertificate, mesh } from './pki.ts'
import { configText, Folder, type SidecarFile } from './running-sidecar.ts'

export interface Checked extends Ended {
  readonly stdout: string
  /** Lines of standard error, the path of the test's folder cut off. */
  readonly problems: readonly string[]
}

export interface CheckOptions extends CommandOptions {
  readonly leaf?: IssuedCertificate
  readonly roots?: readonly IssuedCertificate[]
  readonly args?: readonly string[]
  /** Last changes to the folder. */
  readonly prepare?: (folder: Folder) => Promise<unknown>
}

/** Checks a configuration beside a good certificate; text is taken as it is. */
export async function check(
  t: TestContext,
  config: SidecarFile | string,
  { leaf = mesh.web, roots = [mesh.root], args = ['--check'], prepare, ...options }: CheckOptions = {},
): Promise<Checked> {
  const folder = await Folder.make(t)
  await folder.writeIdentity(leaf, ...roots)
  await folder.write('sidecar.json', typeof config === 'string' ? config : configText(config))
  await prepare?.(folder)
  const command = run(t, ['proxy', '--config', folder.file('sidecar.json'), ...args], options)
  const ended = await command.end()
  const problems = command.stderr
    .replaceAll(`${folder.path}/`, '')
    .split('\n')
    .filter(line => line !== '')
  return { ...ended, stdout: command.stdout, problems }
}
