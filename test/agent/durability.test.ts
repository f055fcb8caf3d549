// What the agent has acknowledged is there for ever: after `kill -9` at any moment, and each answer only after the disk has it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import test from 'node:test'
import { durable, launchAgent, startAgent } from '../support/agent-command.ts'
import { bin, build, Command } from '../support/command.ts'
import { freePort } from '../support/free-ports.ts'

test('killed a hundred times under writes, nothing acknowledged is lost, and the index never goes back', async t => {
  const agent = await startAgent(t, { args: durable })
  const acknowledged = new Map<string, string>()
  let index = 0
  let deleted = 0
  for (let round = 0; round < 100; round++) {
    let stopped = false
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let at = 0; !stopped; at++) {
        const name = `s-${round}-${writer}-${at}`
        try {
          const { ID } = await agent.call<{ ID: string }>('POST', '/v1/connect/intentions', {
            ...{ SourceName: name, DestinationName: 'db', Action: 'deny' },
          })
          acknowledged.set(ID, name)
          if (at % 3 === 2) {
            await agent.call('DELETE', `/v1/connect/intentions/${ID}`)
            acknowledged.delete(ID)
            deleted++
          }
        } catch {
          // Not acknowledged: it may be there or not. One that was being deleted is neither.
          const last = [...acknowledged].find(([, known]) => known === name)
          if (last !== undefined) acknowledged.delete(last[0])
          return
        }
      }
    })
    const enough = acknowledged.size + 10 + (round % 7)
    while (acknowledged.size < enough) await new Promise(setImmediate)
    await agent.kill()
    stopped = true
    await Promise.all(writers)
    await agent.startAgain()
    const answer = await agent.send('GET', '/v1/connect/intentions')
    const there = new Set((JSON.parse(answer.text) as { ID: string }[]).map(row => row.ID))
    const lost = [...acknowledged.keys()].filter(id => !there.has(id))
    assert.deepEqual(lost, [], `round ${round}`)
    assert.ok(answer.index >= index, `${answer.index} after ${index}`)
    index = answer.index
  }
  assert.ok(deleted > 0, 'deletions were among the writes')
})

test('each acknowledgement follows an fsync of the write behind it', async t => {
  build()
  const agent = await launchAgent(t, { args: durable })
  await agent.ready()
  await agent.command.stop()
  const { port } = await freePort()
  const trace = join(agent.folder, 'trace')
  const child = spawn(
    'strace',
    [
      // -D: the child is the agent, and strace stands beside it.
      ...[
        '-D',
        '-f',
        '-y',
        '-s',
        '60',
        '-o',
        trace,
        '-e',
        'trace=write,writev,pwrite64,pwritev,fsync,fdatasync',
      ],
      ...[process.execPath, bin, 'agent', ...durable(agent.folder), '--http-port', String(port)],
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const command = new Command(child)
  t.after(() => command.ended ?? command.stop('SIGTERM'))
  await command.line('agent is up')
  const writes = 25
  for (let at = 0; at < writes; at++) {
    const response = await fetch(`http://127.0.0.1:${port}/v1/connect/intentions`, {
      method: 'POST',
      body: JSON.stringify({ SourceName: `s${at}`, DestinationName: 'db', Action: 'deny' }),
    })
    assert.equal(response.status, 200)
  }
  await command.stop()
  let unsynced = false
  let synced = 0
  let answers = 0
  for (const line of readFileSync(trace, 'utf8').split('\n')) {
    if (/pwrite(64|v)\([0-9]+<[^>]*state\.db-wal>/.test(line)) unsynced = true
    else if (/f(data)?sync\([0-9]+<[^>]*state\.db-wal>\)? .*= 0/.test(line)) {
      if (unsynced) synced++
      unsynced = false
    } else if (/HTTP\/1\.1 200/.test(line)) {
      answers++
      assert.equal(unsynced, false, `answered before the disk had it: ${line}`)
    }
  }
  assert.ok(answers >= writes, `${answers} answers`)
  assert.ok(synced >= writes, `${synced} writes that were synced`)
})

test('a damaged state is refused with what to do, and left as it is', async t => {
  const agent = await startAgent(t, { args: durable })
  await agent.call('POST', '/v1/connect/intentions', {
    SourceName: 'a',
    DestinationName: 'b',
    Action: 'deny',
  })
  await agent.command.stop()
  const file = join(agent.folder, 'state', 'state.db')
  truncateSync(file, 5_000)
  const bytes = readFileSync(file)
  await assert.rejects(agent.startAgain())
  assert.equal((await agent.command.end()).code, 2)
  assert.match(
    agent.command.stderr,
    /state\.db: got a file that can't be used .* Restore it from a copy, or move it away/,
  )
  assert.deepEqual(readFileSync(file), bytes)
})

test('a restart keeps trust domain, roots, tokens, intentions and queries, and a second agent is refused meanwhile', async t => {
  const agent = await startAgent(t, {
    files: { 'agent.json': { acl: { enabled: true } } },
    args: folder => [...durable(folder), '--config', join(folder, 'agent.json')],
  })
  const { SecretID } = await agent.call<{ SecretID: string }>('PUT', '/v1/acl/bootstrap')
  await agent.call(
    'POST',
    '/v1/connect/intentions',
    { SourceName: 'a', DestinationName: 'b', Action: 'deny' },
    SecretID,
  )
  await agent.call('POST', '/v1/query', { Name: 'q', Service: { Service: 'b' } }, SecretID)
  await agent.call('PUT', '/v1/agent/service/register', { Name: 'b', Port: 1 }, SecretID)
  const paths = ['/v1/connect/ca/roots', '/v1/connect/intentions', '/v1/query', '/v1/agent/services']
  const everything = () => Promise.all(paths.map(path => agent.call('GET', path, undefined, SecretID)))
  const before = await everything()
  const second = await launchAgent(t, { args: () => durable(agent.folder) })
  assert.equal((await second.command.end()).code, 2)
  assert.match(second.command.stderr, /expected that no other agent uses it/)
  await agent.kill()
  await agent.startAgain()
  assert.deepEqual(await everything(), before)
})
