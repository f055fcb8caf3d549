#!/usr/bin/env node
'use strict'
// A sidecar whose bytes are not JavaScript's allocates little and lives long: the space for what is new stays as small as it begins, also
// through the start, which would have it grow. src/data-plane/open.ts lets it grow where bytes do pass through.
if (process.argv[2] === 'proxy') require('node:v8').setFlagsFromString('--semi-space-growth-factor=1')
// The handler comes first: without one Node answers SIGUSR1 by opening its debugger, which asks no password.
let printMetrics = () => {}
process.on('SIGUSR1', () => printMetrics())
// SIGHUP asks for a reload: one that comes before there is anything to load must not end the process.
process.on('SIGHUP', () => {})

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  process.stderr.write(`sidesplice needs Node 22.19 or newer, this is ${process.versions.node}\n`)
  process.exit(1)
}

import('../dist/cli/main.js').then(({ main }) =>
  main({
    argv: process.argv,
    onPrintMetrics: handler => {
      printMetrics = handler
    },
  }),
)
