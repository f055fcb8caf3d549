// A protocol in which the server speaks first: nothing waits for a byte from the client.
import { test } from 'node:test'
import { conformance } from '../support/data-planes.ts'
import { openRig } from '../support/rig.ts'

conformance('server-first protocols', plane => {
  test('a banner arrives before the client has said anything', async t => {
    const rig = await openRig(t, plane, { serve: ({ socket }) => socket.write('220 ready\r\n') })
    const client = rig.connect()
    await client.gets('220 ready\r\n')
    client.send('QUIT\r\n')
    await (await rig.app.connection()).gets('QUIT\r\n')
  })

  test('a client that speaks first is heard before the server says anything', async t => {
    const rig = await openRig(t, plane)
    const client = rig.connect()
    client.send('EHLO\r\n')
    await (await rig.app.connection()).gets('EHLO\r\n')
  })
})
