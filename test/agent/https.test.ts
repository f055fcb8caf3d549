// The API by TLS: for whom it is there, and certificates that change.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { startAgent } from '../support/agent-command.ts'
import { freePort } from '../support/free-ports.ts'
import { type IssuedCertificate, issue, issueRoot } from '../support/pki.ts'

const serverName = 'agent.example'

async function issued(commonName = serverName) {
  const root = await issueRoot(`root of ${commonName}`)
  const leaf = await issue({ commonName, issuer: root, dnsNames: [commonName] })
  return { root, leaf }
}

async function start(t: TestContext, settings: object = {}) {
  const [port, { root, leaf }] = [(await freePort()).port, await issued()]
  const agent = await startAgent(t, {
    files: {
      'ca.pem': root.certPem,
      'cert.pem': leaf.chainPem,
      'key.pem': leaf.keyPem,
      'a.json': {
        ports: { https: port },
        ...{ cert_file: 'cert.pem', key_file: 'key.pem', ca_file: 'ca.pem' },
        ...settings,
      },
    },
    args: folder => ['--dev', '--config', join(folder, 'a.json')],
  })
  return { agent, port, root }
}

interface Asking {
  readonly port: number
  readonly root: IssuedCertificate
  readonly client?: IssuedCertificate
}

/** The status, or the code of the error. */
function ask({ port, root, client }: Asking): Promise<number | string> {
  return new Promise(resolve => {
    const asked = request(
      {
        ...{ host: '127.0.0.1', port, path: '/v1/status/leader', servername: serverName },
        ca: root.certPem,
        ...(client !== undefined && { cert: client.chainPem, key: client.keyPem }),
        agent: false,
      },
      answer => {
        answer.resume()
        resolve(answer.statusCode ?? 0)
      },
    )
    asked.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message)).end()
  })
}

test('with tokens it is there for others by HTTPS, while plain HTTP stays on loopback', async t => {
  const { agent, port, root } = await start(t, {
    addresses: { https: '0.0.0.0' },
    acl: { enabled: true },
  })
  assert.equal(await ask({ port, root }), 200)
  assert.equal((await agent.send('GET', '/v1/agent/services')).status, 200)
  assert.match(
    await agent.command.line('agent is up'),
    new RegExp(`http=127\\.0\\.0\\.1:\\d+ https=0\\.0\\.0\\.0:${port}`),
  )
  assert.equal(await ask({ port, root: (await issued('other')).root }), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
})

test('where clients are to be verified one without a certificate, or with a foreign one, gets no answer', async t => {
  const { port, root } = await start(t, { verify_incoming: true })
  const client = await issue({ commonName: 'client', issuer: root, dnsNames: ['client'] })
  assert.equal(await ask({ port, root, client }), 200)
  assert.equal(typeof (await ask({ port, root })), 'string')
  assert.equal(typeof (await ask({ port, root, client: (await issued('other')).leaf })), 'string')
})

test('a certificate that changes is taken up at a reload, and one that is none leaves the former', async t => {
  const { agent, port, root } = await start(t)
  const good = readFileSync(join(agent.folder, 'cert.pem'), 'utf8')
  agent.write('cert.pem', 'nothing of the kind')
  agent.command.signal('SIGHUP')
  assert.match(
    await agent.command.line('the certificates of the API stay as they were'),
    /cert_file and key_file: got cert\.pem, key\.pem \(.+\), expected PEM files of a certificate and its key/,
  )
  assert.equal(await ask({ port, root }), 200)
  const next = await issued()
  agent.write('cert.pem', next.leaf.chainPem)
  agent.write('key.pem', next.leaf.keyPem)
  agent.command.signal('SIGHUP')
  await agent.command.line('definitions applied', 3)
  assert.notEqual(next.leaf.chainPem, good)
  assert.equal(await ask({ port, root: next.root }), 200)
  assert.equal(typeof (await ask({ port, root })), 'string')
})
