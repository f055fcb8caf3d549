// ghostunnel where its binary is on the PATH, as its README starts it.
import { join } from 'node:path'
import { benchId } from '../../src/bench/identities.ts'
import { freeAddress } from '../../src/bench/ports.ts'
import { missingProgram, type Peer, versionOf } from '../peer.ts'

export const ghostunnel: Peer = {
  name: 'ghostunnel',
  title: 'ghostunnel',
  kind: 'tls',
  holdsIdle: true,
  missing: missingProgram('ghostunnel'),
  version: () => versionOf('ghostunnel', ['--version']),
  open: async ({ folder, app, identities }) => {
    const [to, bAddress] = [await freeAddress(), await freeAddress()]
    const { web, db } = identities
    const start = (name: string, listens: string, args: readonly string[]) => ({
      command: 'ghostunnel',
      args,
      listens,
      log: join(folder, `${name}.log`),
    })
    const files = ({ cert, key, ca }: typeof web) => ['--cert', cert, '--key', key, '--cacert', ca]
    const dial = ['client', '--listen', to, '--target', bAddress, '--override-server-name', 'db']
    const serve = ['server', '--listen', bAddress, '--target', app, '--allow-uri', benchId('web')]
    return {
      to,
      bAddress,
      a: start('a', to, [...dial, '--verify-uri', benchId('db'), ...files(web)]),
      b: start('b', bAddress, [...serve, ...files(db)]),
    }
  },
}
