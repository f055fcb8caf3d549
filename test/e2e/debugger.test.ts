// SIGUSR1 never leaves Node's debugger open: it asks no password, and the process holds keys.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { formatAddress } from '../../src/address.ts'
import { freePort } from '../support/free-ports.ts'
import { listeningPorts } from '../support/listening.ts'
import { launchSidecar, startSidecar } from '../support/running-sidecar.ts'
import { until } from '../support/until.ts'

const inbound = async () => ({
  listen: formatAddress(await freePort()),
  local_service_address: formatAddress(await freePort()),
  allow: [],
})
const portOf = (address: string) => Number(address.split(':').at(-1))

test('SIGUSR1 prints the metrics to standard error and opens nothing', async t => {
  const sidecar = await startSidecar(t, { inbound: await inbound() })
  const before = listeningPorts(sidecar.pid)
  sidecar.command.signal('SIGUSR1')
  await until(() => sidecar.command.stderr.includes('sidesplice_ready 1'), 'the metrics')
  assert.match(sidecar.command.stderr, /^# HELP /)
  assert.ok(!sidecar.command.stderr.includes('Debugger listening'))
  assert.deepEqual(listeningPorts(sidecar.pid), before)
})

// The signal is the stimulus, its time after the start what varies: before the handler stands, Node opens the debugger.
for (const afterMs of [5, 10, 20, 30, 40, 50, 60, 70, 80]) {
  test(`nothing but the configured listeners is open where SIGUSR1 came ${afterMs} ms after the start`, async t => {
    for (let round = 0; round < 3; round++) {
      const section = await inbound()
      const sidecar = await launchSidecar(t, { inbound: section })
      await delay(afterMs)
      sidecar.command.signal('SIGUSR1')
      // Before Node has any handler the signal's default ends a process: then there is nothing left to listen.
      await until(
        () => sidecar.command.ended !== undefined || sidecar.command.stdout.includes(' ready '),
        'the end or readiness',
      )
      if (sidecar.command.ended !== undefined) {
        assert.equal(sidecar.command.ended.signal, 'SIGUSR1', sidecar.command.stderr)
        continue
      }
      const wanted = [portOf(section.listen), sidecar.admin.port].toSorted((one, other) => one - other)
      assert.deepEqual(listeningPorts(sidecar.pid), wanted)
      assert.equal((await sidecar.get('/ready')).status, 200)
      await sidecar.command.stop()
    }
  })
}

test('a debugger that was asked for by name is not closed', async t => {
  const debuggerAt = await freePort()
  const sidecar = await startSidecar(
    t,
    { inbound: await inbound() },
    { nodeArgs: [`--inspect=${formatAddress(debuggerAt)}`] },
  )
  assert.ok(listeningPorts(sidecar.pid).includes(debuggerAt.port))
})
