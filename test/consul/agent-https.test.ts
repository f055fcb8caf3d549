// An agent that speaks HTTPS alone and wants a certificate of its clients: files that change are read again.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { startConsul } from '../support/consul-agent.ts'
import { freePort } from '../support/free-ports.ts'
import { startMeshSidecar } from '../support/mesh.ts'
import { type IssuedCertificate, issue, issueRoot } from '../support/pki.ts'
import { Folder } from '../support/running-sidecar.ts'
import { noteSecret } from '../support/secrets.ts'

const serverName = 'server.dc1.consul'

interface Authority {
  readonly root: IssuedCertificate
  readonly agent: IssuedCertificate
  readonly client: IssuedCertificate
}

async function authority(): Promise<Authority> {
  const root = await issueRoot('operations')
  return {
    root,
    agent: await issue({ commonName: serverName, issuer: root, dnsNames: [serverName, 'localhost'] }),
    client: await issue({ commonName: 'sidecar', issuer: root, dnsNames: ['sidecar'] }),
  }
}

async function httpsAgent(t: TestContext, folder: Folder, first: Authority) {
  await writeAgentFiles(folder, first)
  const https = await freePort()
  const config = {
    ports: { https: https.port },
    addresses: { https: '127.0.0.1' },
    ca_file: folder.file('agent-ca.pem'),
    cert_file: folder.file('agent.pem'),
    key_file: folder.file('agent.key'),
    verify_incoming_https: true,
  }
  return { https, agent: await startConsul(t, { config }) }
}

async function writeAgentFiles(folder: Folder, { root, agent }: Authority): Promise<void> {
  await folder.write('agent-ca.pem', root.certPem)
  await folder.write('agent.pem', agent.chainPem)
  await folder.write('agent.key', agent.keyPem)
}

async function writeClientFiles(folder: Folder, { root, client }: Authority): Promise<void> {
  await folder.write('ca.pem', root.certPem)
  await folder.write('client.pem', client.chainPem)
  await folder.write('client.key', client.keyPem)
}

function service(port: number) {
  return { ID: 'web1', Name: 'web', Port: 1, Connect: { SidecarService: { Port: port, Checks: [] } } }
}

test('the certificates to the agent are read again when they change, without a restart', async t => {
  const folder = await Folder.make(t)
  const before = await authority()
  const { https, agent } = await httpsAgent(t, folder, before)
  await writeClientFiles(folder, before)
  const port = (await freePort()).port
  await agent.register(service(port))
  const env = {
    CONSUL_HTTP_SSL: 'true',
    CONSUL_CACERT: folder.file('ca.pem'),
    CONSUL_CLIENT_CERT: folder.file('client.pem'),
    CONSUL_CLIENT_KEY: folder.file('client.key'),
    CONSUL_TLS_SERVER_NAME: serverName,
  }
  const sidecar = await startMeshSidecar(
    t,
    { address: `127.0.0.1:${https.port}` },
    ['--sidecar-for', 'web1'],
    { env: { ...process.env, ...env } },
  )
  await sidecar.ready()
  await agent.kill()
  await sidecar.command.line('the agent does not answer')
  const after = await authority()
  await writeAgentFiles(folder, after)
  await agent.startAgain()
  await agent.register(service(port))
  assert.equal(sidecar.command.linesWith('the agent answers again').length, 0, 'not with the old files')
  await writeClientFiles(folder, after)
  await sidecar.command.line('the agent answers again')
})

test('an agent whose certificate does not verify is not told the token', async t => {
  const folder = await Folder.make(t)
  const { https } = await httpsAgent(t, folder, await authority())
  const other = await authority()
  await writeClientFiles(folder, other)
  const token = 'a-token-that-must-not-leave'
  noteSecret(token)
  await writeFile(folder.file('token'), `${token}\n`)
  const sidecar = await startMeshSidecar(t, { address: `https://127.0.0.1:${https.port}` }, [
    ...['--sidecar-for', 'web1', '--wait', '0', '--token-file', folder.file('token')],
    ...['--ca-file', folder.file('ca.pem'), '--tls-server-name', serverName],
  ])
  assert.equal((await sidecar.command.end()).code, 2)
  assert.match(
    sidecar.command.stderr,
    /the agent does not answer \((SELF_SIGNED|UNABLE_TO|CERT_)\S* at https:\/\/127/,
  )
})
