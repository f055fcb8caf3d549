// Plaintext, and whatever speaks for the service, stays on this machine unless the operator says otherwise.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { check } from '../support/check.ts'
import { spiffeId } from '../support/pki.ts'
import type { SidecarFile } from '../support/running-sidecar.ts'

const inbound = (local_service_address: string) => ({
  inbound: { listen: '0.0.0.0:20000', local_service_address, allow: [] },
})
const upstream = (local_bind_address: string) => ({
  upstreams: [
    {
      destination_name: 'db',
      local_bind_address,
      local_bind_port: 9191,
      endpoints: ['10.0.0.1:20000'],
      expect: [spiffeId('db')],
    },
  ],
})

interface Exposure {
  readonly what: string
  readonly key: string
  readonly setting: string
  readonly exposed: (host: string) => SidecarFile
}

const exposures: readonly Exposure[] = [
  {
    what: 'an upstream listener',
    key: 'upstreams[0].local_bind_address',
    setting: 'unsafe_upstream_bind',
    exposed: upstream,
  },
  {
    what: 'the local service',
    key: 'inbound.local_service_address',
    setting: 'unsafe_local_service',
    exposed: host => inbound(`${bracketed(host)}:8080`),
  },
  {
    what: 'the admin address',
    key: 'admin',
    setting: 'unsafe_admin',
    exposed: host => ({ admin: `${bracketed(host)}:8500` }),
  },
]

const all = (host: string): SidecarFile => Object.assign({}, ...exposures.map(({ exposed }) => exposed(host)))

describe('beyond loopback', { concurrency: 3 }, () => {
  for (const host of ['0.0.0.0', '::', '10.1.2.3', '127.example.com']) {
    test(`${host} is refused, and the setting that allows it is named`, async t => {
      const checked = await check(t, all(host))
      const expected = exposures.map(({ key, setting }) => {
        const flag = `--${setting.replaceAll('_', '-')}`
        return `sidecar.json: ${key}: got "${host}", expected a loopback address, or ${setting} (${flag})`
      })
      assert.deepEqual([...checked.problems].sort(), expected.sort())
      assert.equal(checked.code, 1)
    })
  }

  for (const { what, key, setting, exposed } of exposures) {
    const flag = `--${setting.replaceAll('_', '-')}`
    test(`${what} is accepted with ${flag}, and nothing else is`, async t => {
      assert.deepEqual((await check(t, exposed('0.0.0.0'), { args: ['--check', flag] })).problems, [])
      const { problems } = await check(t, all('0.0.0.0'), { args: ['--check', flag] })
      assert.equal(problems.length, exposures.length - 1)
      assert.deepEqual(
        problems.filter(problem => problem.includes(` ${key}: `)),
        [],
      )
    })

    test(`${what} is accepted with ${setting} in the file`, async t => {
      assert.deepEqual((await check(t, { ...exposed('::'), [setting]: true })).problems, [])
    })
  }
})

describe('at loopback all of it is accepted', { concurrency: 3 }, () => {
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) {
    test(host, async t => {
      assert.deepEqual((await check(t, all(host))).problems, [])
    })
  }
})

test('the public listener may be anywhere: it speaks mutual TLS', async t => {
  assert.deepEqual((await check(t, inbound('127.0.0.1:8080'))).problems, [])
})

test('--metrics may be anywhere: it shows numbers alone', async t => {
  assert.deepEqual((await check(t, { metrics: '0.0.0.0:9102' })).problems, [])
})

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}
