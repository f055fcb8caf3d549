// Options that describe a sidecar without a registration: which mode they choose, and what is refused before any agent is asked.
import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { run } from '../support/command.ts'
import { freePort } from '../support/free-ports.ts'
import { listeningPorts } from '../support/listening.ts'

// Nothing of the environment that the tests run in.
const noVariables = {
  CONNECT_PROXY_ID: undefined,
  CONSUL_PROXY_ID: undefined,
  CONNECT_SIDECAR_FOR: undefined,
  CONSUL_HTTP_ADDR: undefined,
}

async function checkFlags(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const command = run(t, ['proxy', '--check', ...args], { env: { ...noVariables, ...env } })
  const { code } = await command.end()
  return { code, stdout: command.stdout, lines: command.stderr.split('\n').filter(line => line !== '') }
}

const listens = ['--listen', ':20000', '--service-addr', '127.0.0.1:8080']

describe('by flags alone', { concurrency: 3 }, () => {
  test('the listeners are told, and what is left out is called disabled', async t => {
    const upstreams = ['--upstream', 'db:9191', '--upstream', 'near-db.query:[::1]:0x23E8']
    const whole = await checkFlags(t, ['--service', 'web', ...listens, ...upstreams])
    assert.deepEqual(whole, {
      code: 0,
      lines: [],
      stdout: [
        'options are good; agent http://127.0.0.1:8500',
        'Service: web',
        'Public listener: 0.0.0.0:20000 => 127.0.0.1:8080',
        'Upstream: 127.0.0.1:9191 => service db',
        'Upstream: [::1]:9192 => prepared_query near-db',
        '',
      ].join('\n'),
    })
    const outbound = await checkFlags(t, ['--service', 'web', '--upstream', 'db:9191'])
    assert.match(outbound.stdout, /^Public listener: disabled$/m)
  })

  test("Go's spelling of every flag is taken", async t => {
    const consul = [
      ...[
        '-service',
        'web',
        '-service-addr=127.0.0.1:8080',
        '-listen=:20000',
        '-register',
        '-register-id',
        'r1',
      ],
      ...['-upstream', 'db:9191', '-upstream=db:9192', '-log-level', 'INFO', '-log-json=false'],
    ]
    const taken = await checkFlags(t, consul)
    assert.deepEqual([taken.code, taken.lines], [0, []])
    assert.deepEqual(taken.stdout.match(/^Upstream: .*$/gm), [
      'Upstream: 127.0.0.1:9191 => service db',
      'Upstream: 127.0.0.1:9192 => service db',
    ])
  })

  test('-register=false is the absence of the flag, and another word is no boolean', async t => {
    assert.equal((await checkFlags(t, ['-service', 'web', '-register=false'])).code, 0)
    assert.equal((await checkFlags(t, ['-service', 'web', '-register=true'])).code, 1)
    const neither = await checkFlags(t, ['-service', 'web', '-register=maybe'])
    assert.deepEqual([neither.code, neither.lines[0]], [1, "error: unknown option '--register=maybe'"])
  })

  test('every bad value is told, by its flag', async t => {
    const args = ['--service', 'my web', '--listen', '20000', '--service-addr', 'app:0', '--drain', 'long']
    const checked = await checkFlags(t, [...args, '--upstream', 'db', '--upstream', 'db.zzz:9191'])
    const address = '[host]:port with a port of 1 to 65535, IPv6 in brackets'
    assert.deepEqual(checked.lines, [
      '--service: got "my web", expected a name without spaces and slashes',
      '--drain: got "long", expected a number, or a string that holds one',
      `--listen: got "20000", expected ${address}`,
      `--service-addr: got "app:0", expected ${address}`,
      '--upstream: got "db", expected name[.service|.query]:[address:]port, IPv6 in brackets',
      '--upstream: got "db.zzz:9191", expected .service, .query or nothing between db and its colon',
    ])
    assert.equal(checked.code, 1)
  })

  test('one address for two listeners is refused, and names both', async t => {
    const upstreams = ['--upstream', 'db:9191', '--upstream', 'api:127.0.0.1:9191', '--upstream', 'c:20000']
    const admin = ['--admin', '127.0.0.1:9191']
    const checked = await checkFlags(t, ['--service', 'web', ...listens, ...upstreams, ...admin])
    const other = 'expected an address other than that of'
    assert.deepEqual(checked.lines, [
      `--upstream api:127.0.0.1:9191: got 127.0.0.1:9191, ${other} --upstream db:9191`,
      `--upstream c:20000: got 127.0.0.1:20000, ${other} --listen`,
      `--admin: got 127.0.0.1:9191, ${other} --upstream db:9191`,
    ])
    assert.equal(checked.code, 1)
  })

  test('a public listener that is its own application is refused', async t => {
    const circle = ['--listen', ':20000', '--service-addr', '127.0.0.1:20000']
    const checked = await checkFlags(t, ['--service', 'web', ...circle])
    assert.deepEqual(checked.lines, [
      '--service-addr: got 127.0.0.1:20000, expected an address other than that of --listen',
    ])
  })

  test('plaintext beyond this machine needs its own word', async t => {
    const exposed = ['--service', 'web', '--listen', ':20000', '--service-addr', '10.0.0.1:8080']
    const args = [...exposed, '--upstream', 'db:0.0.0.0:9191']
    const refused = await checkFlags(t, args)
    assert.deepEqual(refused.lines, [
      '--service-addr: got "10.0.0.1", expected a loopback address, or unsafe_local_service (--unsafe-local-service)',
      '--upstream db:0.0.0.0:9191: got "0.0.0.0", expected a loopback address, or unsafe_upstream_bind (--unsafe-upstream-bind)',
    ])
    assert.equal(refused.code, 1)
    assert.equal((await checkFlags(t, [...args, '--unsafe-local-service', '--unsafe-upstream-bind'])).code, 0)
  })
})

describe('usage', { concurrency: 3 }, () => {
  const refusals: readonly (readonly [string, readonly string[], string, NodeJS.ProcessEnv?])[] = [
    ['--listen alone', ['--service', 'web', '--listen', ':1'], '--listen needs --service-addr <host:port>'],
    [
      '--service-addr alone',
      ['--service', 'web', '--service-addr', 'app:1'],
      '--service-addr needs --listen <[host]:port>',
    ],
    [
      '--register without a public listener',
      ['--service', 'web', '--register'],
      '--register needs --listen <[host]:port>',
    ],
    [
      '--register-id without --register',
      ['--service', 'web', ...listens, '--register-id', 'r1'],
      '--register-id needs --register',
    ],
    [
      '--register for a registered sidecar',
      ['--sidecar-for', 'web1', '--register'],
      '--register has no effect with --sidecar-for: it belongs to --service',
    ],
    [
      '--upstream for a registered proxy that a variable names',
      ['--service', 'web', '--upstream', 'db:9191'],
      '--upstream has no effect with CONNECT_PROXY_ID: it belongs to --service',
      { CONNECT_PROXY_ID: 'web-sidecar-proxy' },
    ],
    [
      '--wait without a registration',
      ['--service', 'web', '--wait', '5s'],
      '--wait has no effect with --service: it belongs to --proxy-id or --sidecar-for',
    ],
    [
      '--listen with a file',
      ['--config', 'x', '--listen', ':1'],
      '--listen has no effect with --config: it belongs to --service',
    ],
    [
      "an agent's option with a file",
      ['--config', 'x', '--token-file', 'y'],
      '--token-file has no effect with --config, which asks no agent',
    ],
    ...['--proxy-id', '--sidecar-for', '--service'].map(
      flag =>
        [
          `--config with ${flag}`,
          ['--config', 'x', flag, 'web'],
          `--config and ${flag} can not be mixed: the one is a file, the other asks an agent`,
        ] as const,
    ),
    [
      '--config with a variable that names a registration',
      ['--config', 'x'],
      '--config and CONNECT_SIDECAR_FOR can not be mixed: the one is a file, the other asks an agent',
      { CONNECT_SIDECAR_FOR: 'web1' },
    ],
    [
      'an option of a mode that is not chosen',
      ['--upstream', 'db:9191'],
      'one of --config <file>, --proxy-id <id>, --sidecar-for <id> and --service <name> is needed',
    ],
  ]
  for (const [title, args, expected, env] of refusals) {
    test(`${title} is refused`, async t => {
      const checked = await checkFlags(t, args, env)
      assert.equal(checked.lines[0], `error: ${expected}`)
      assert.equal(checked.code, 1)
    })
  }

  test('--pprof-addr is taken, opens nothing, and is warned of', async t => {
    const port = (await freePort()).port
    const args = ['-service', 'web', '-http-addr', '127.0.0.1:1', '-pprof-addr', `127.0.0.1:${port}`]
    const command = run(t, ['proxy', ...args], { env: noVariables })
    assert.match(await command.line('has no meaning here and is ignored'), / WARN .* flag=--pprof-addr$/)
    assert.deepEqual(listeningPorts(command.pid), [])
  })

  for (const [args, env, chosen] of [
    [['--proxy-id', 'p', '--sidecar-for', 'w', '--service', 'web'], {}, ['--sidecar-for', '--service']],
    [['--sidecar-for', 'w', '--service', 'web'], {}, ['--service']],
    [['--service', 'web'], { CONNECT_SIDECAR_FOR: 'w' }, ['--service']],
    [['--sidecar-for', 'w'], { CONNECT_PROXY_ID: 'p' }, ['--sidecar-for']],
  ] as const) {
    const given = [...args.filter(arg => arg.startsWith('--')), ...Object.keys(env)].join(', ')
    test(`of ${given} the strongest is taken, and the log names what is not`, async t => {
      const agent = ['--http-addr', '127.0.0.1:1']
      const command = run(t, ['proxy', ...args, ...agent], { env: { ...noVariables, ...env } })
      await command.line('waiting for the registration')
      const ignored = command.linesWith('another way to be configured goes before this one')
      assert.deepEqual(
        ignored.map(line => / flag=(\S+)$/.exec(line)?.[1]),
        chosen,
      )
    })
  }
})
