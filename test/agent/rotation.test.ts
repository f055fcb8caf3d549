import assert from 'node:assert/strict'
import test from 'node:test'
import { run } from '../support/command.ts'
import { startConsul } from '../support/consul-agent.ts'
import { connect } from '../support/ends.ts'
import { startMeshPair } from '../support/mesh.ts'

test('ten rotations of the CA under load cost no connection', async t => {
  const agent = await startConsul(t)
  const pair = await startMeshPair(t, agent)
  const live = pair.connect()
  await live.echoes('before')
  let connections = 0
  const failed: string[] = []
  let stopped = false
  const load = Array.from({ length: 4 }, async (_, worker) => {
    while (!stopped) {
      const end = connect(t, pair.upstream)
      await end.echoes(`worker ${worker}`).catch((error: unknown) => failed.push(String(error)))
      end.socket.destroy()
      connections++
    }
  })
  for (let time = 0; time < 10; time++) {
    const command = run(t, ['ca', 'rotate', '--http-addr', agent.address])
    assert.equal((await command.end()).code, 0, command.stderr)
  }
  await pair.db.command.line('certificate taken up', 3)
  stopped = true
  await Promise.all(load)
  t.diagnostic(`${connections} connections meanwhile`)
  assert.deepEqual(failed, [])
  assert.ok(connections > 50, `${connections}`)
  await live.echoes(' and after')
})
